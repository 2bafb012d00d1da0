"""The usual form: a Tune trial a run, each with a TorchTrainer of its own that does nothing.

python -m benchmarks.control_arms.no_op_peer FOLDER RUNS CONCURRENT
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.control_arms.ray_peers import train_in_worker, tune_runs

PARTS = "parts.json"


def nothing(config: dict[str, Any]) -> None:
    """Train nothing."""


def trial(config: dict[str, Any]) -> None:
    """One run, in the worker of a trainer."""
    train_in_worker(nothing, config, config["storage"])


def sweep(place: Path, runs: int, concurrent: int) -> dict[str, float]:
    """Run the trials; the seconds of starting and ending Ray, and of the trials."""
    from orchestrator.cluster.ray_session import open_session

    begin = time.monotonic()
    session = open_session(threads=1)
    opened = time.monotonic()
    try:
        config = {"storage": str(place / "train")}
        tune_runs(trial, runs, config, cpus=0.01, storage=place / "tune", at_once=concurrent)
        done = time.monotonic()
    finally:
        session.close()
    return {"Ray": opened - begin + time.monotonic() - done, "packs": done - opened}


if __name__ == "__main__":
    place_ = Path(sys.argv[1]).resolve()
    (place_ / PARTS).write_text(json.dumps(sweep(place_, int(sys.argv[2]), int(sys.argv[3]))))
