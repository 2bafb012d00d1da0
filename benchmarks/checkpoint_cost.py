"""What checkpoints cost training: the same pack saved often, and never.

    python -m benchmarks.checkpoint_cost [ROUNDS [BASE]]     # a Markdown table; wants a machine that does nothing else

A sweep of one pack of eight runs on a barely trained tiny base, or on the model in the folder BASE, in a process of its
own and a fresh folder. The arms take turns within a round. Training seconds are the sum of ``train_seconds`` of the
rows. A save costs the difference of the arms, divided by the number of saves; with the default of one save per minute
its share of the training is a sixtieth of its seconds.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measuring.machine import describe
from benchmarks.measuring.tree_cost import FailedError
from orchestrator.recipe.sections import EngineSpec
from orchestrator.tiny import TinySettings, ensure_tiny_base

EVERY = 2.0  # seconds between two saves in the arm that saves
RECIPE = """
name: cost
tasks: [tiny_recall]
methods: [lora, d2lora]
seeds: [0, 1, 2, 3]
model: {{path: {base}}}
data: {{train_samples: 512, eval_samples: 16, max_length: 64}}
optim: {{lr: 1.0e-4, epochs: {epochs}, micro_batch: 8, global_batch: 16}}
engine: {{kind: plain, diagnostics: false, checkpoint_seconds: {seconds}}}
cluster: {{kind: local, pack: 8}}
tracking: {{uri: none}}
storage: {place}/sweeps
champions: false
"""


def sweep(seconds: float, epochs: int, base: Path, place: Path) -> float:
    """Train the sweep; return its training seconds."""
    place.mkdir()
    recipe = place / "recipe.yaml"
    recipe.write_text(RECIPE.format(base=base, seconds=seconds, epochs=epochs, place=place))
    done = subprocess.run([sys.executable, "jobs/sweep.py", str(recipe)], capture_output=True, check=False)
    if done.returncode:
        raise FailedError(f"the sweep ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    rows = [json.loads(line) for line in (place / "sweeps/cost/results.jsonl").read_text().splitlines()]
    return float(sum(row["train_seconds"] for row in rows))


def main(rounds: int, base: Path | None) -> None:
    """Measure and print."""
    usual = EngineSpec.model_fields["checkpoint_seconds"].default
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        model = base or ensure_tiny_base(place, settings=TinySettings(steps=10))
        epochs = 1 if base else 40
        arms = {"never": 0.0, f"every {EVERY:g} s": EVERY}
        seconds: dict[str, list[float]] = {name: [] for name in arms}
        for number in range(rounds):
            for name, pause in arms.items():
                seconds[name].append(sweep(pause, epochs, model, place / f"{pause}-{number}"))
    never, often = (statistics.median(of_arm) for of_arm in seconds.values())
    each = (often - never) / (never / EVERY)
    lines = [
        *describe(),
        "",
        f"{time.strftime('%Y-%m-%d')}, base: {base.name if base else 'tiny'}, {rounds} rounds",
        "",
    ]
    lines += ["| saved | training, s | ratio |", "|---|---|---|", f"| never | {never:.2f} | 1 |"]
    lines += [f"| every {EVERY:g} s | {often:.2f} | {often / never:.3f} |"]
    lines += [
        "",
        f"A save costs {1000 * each:.0f} ms; with a save per {usual:g} s that is {each / usual:.2%} of training.",
    ]
    print("\n".join(lines))  # noqa: T201 - the table is the output of this command


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, Path(sys.argv[2]) if len(sys.argv) > 2 else None)
