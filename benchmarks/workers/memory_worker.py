"""A process that trains lanes: `python -m benchmarks.workers.memory_worker MODEL LANES STEPS`.

The process prints "ready" when the model is built, trains after a line on stdin, prints "done", and ends after a second
line.
"""

import sys
from pathlib import Path

from benchmarks.lanes import lane_engine, train
from benchmarks.models import one_thread
from orchestrator.model.loading import load_model

ROWS, LENGTH = 8, 64


def main(path: Path, lanes: int, steps: int) -> None:
    """Load the model as a sweep does, and train."""
    one_thread()
    engine, optim = lane_engine(load_model(path), lanes, ROWS)
    vocab = engine.model.get_input_embeddings().num_embeddings  # type: ignore[operator]
    _say("ready")
    sys.stdin.readline()
    train(engine, optim, lanes=lanes, steps=steps, length=LENGTH, vocab=vocab)
    _say("done")
    sys.stdin.readline()


def _say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
