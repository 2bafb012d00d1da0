"""How long a job takes until its first step, and until it ends, in this process and on Ray.

    python -m benchmarks.startup [ROUNDS]     # a Markdown table; wants a machine that does nothing else

A sweep of four runs of 16 steps on a barely trained tiny base, with MLflow on SQLite and the report, in a fresh process
and a fresh folder. Beside it ``--help``, ``plan`` and a recipe with an unknown key.
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
from orchestrator.tiny import TinySettings, ensure_tiny_base

RECIPE = """
name: startup
tasks: [tiny_recall]
methods: [lora, d2lora]
seeds: [0, 1]
model: {{path: {base}}}
data: {{train_samples: 256, eval_samples: 16, max_length: 64}}
optim: {{lr: 1.0e-3, epochs: 1, micro_batch: 8, global_batch: 16}}
cluster: {{kind: {kind}}}
tracking: {{uri: "sqlite:///{place}/mlflow.db"}}
storage: {place}/sweeps
champions: false
"""


def timed(command: list[str], code: int) -> float:
    """Seconds until a command ends; it must end with ``code``."""
    start = time.time()
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != code:
        raise FailedError(f"{command} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return time.time() - start


def sweep(kind: str, base: Path, place: Path) -> tuple[float, float]:
    """Seconds until the first logged step of a sweep, and until its process has ended."""
    place.mkdir()
    recipe = place / "recipe.yaml"
    recipe.write_text(RECIPE.format(base=base, kind=kind, place=place))
    start = time.time()
    end = timed([sys.executable, "jobs/sweep.py", str(recipe)], 0)
    logs = place.glob("sweeps/startup/runs/*/metrics.jsonl")
    first = min(json.loads(log.read_text().splitlines()[0])["time"] / 1000 for log in logs)
    return first - start, end


def main(rounds: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        base = ensure_tiny_base(Path(folder), settings=TinySettings(steps=10))
        head = [*describe(), "", "| command | first step, s | end, s |", "|---|---|---|"]
        print("\n".join(head))  # noqa: T201 - the table is the output of this command
        for kind in ("local", "ray"):
            seconds = [sweep(kind, base, Path(folder) / f"{kind}-{number}") for number in range(rounds)]
            first, end = (statistics.median(column) for column in zip(*seconds, strict=True))
            print(f"| `jobs/sweep.py RECIPE cluster.kind={kind}` | {first:.1f} | {end:.1f} |")  # noqa: T201 - the table is the output of this command
        quick = {
            "`jobs/sweep.py --help`": (["jobs/sweep.py", "--help"], 0),
            "`jobs/plan.py recipes/quickstart.yaml`": (["jobs/plan.py", "recipes/quickstart.yaml"], 0),
            "`jobs/sweep.py recipes/quickstart.yaml optim.lrr=1`": (
                ["jobs/sweep.py", "recipes/quickstart.yaml", "optim.lrr=1"],
                2,
            ),
        }
        for name, (words, code) in quick.items():
            seconds = [timed([sys.executable, *words], code) for _ in range(rounds)]
            print(f"| {name} | | {statistics.median(seconds):.2f} |")  # noqa: T201 - the table is the output of this command


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
