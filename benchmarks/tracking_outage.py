"""What a tracker costs training: the same sweep with MLflow up, without a tracker, and with a tracker that is down.

    python -m benchmarks.tracking_outage [ROUNDS [ARM ...]]     # a Markdown table; wants an idle machine

A sweep of eight runs on a barely trained tiny base in a process of its own and a fresh folder. Down is an address that
refuses connections, and an address that takes them and never answers. The arms take turns within a round, and each
round begins with another arm. Training seconds are the sum of ``train_seconds`` of the rows; wall seconds are those of
the whole command. CPU seconds are those of the whole command too: they hardly depend on other work on the machine, so
they show a smaller cost than the other two can.
"""

import json
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measuring.machine import describe
from benchmarks.measuring.tree_cost import FailedError
from orchestrator.tiny import TinySettings, ensure_tiny_base

RECIPE = """
name: outage
tasks: [tiny_recall, tiny_above]
methods: [lora, d2lora]
seeds: [0, 1]
model: {{path: {base}}}
data: {{train_samples: 512, eval_samples: 32, max_length: 64}}
optim: {{lr: 1.0e-3, epochs: 6, micro_batch: 8, global_batch: 16}}
cluster: {{kind: local, pack: 4}}
tracking: {{uri: "{uri}"}}
storage: {place}/sweeps
champions: false
"""


@contextmanager
def hanging() -> Iterator[str]:
    """Within: an address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as door:
        yield f"http://127.0.0.1:{door.getsockname()[1]}"


def sweep(uri: str, code: int, base: Path, place: Path) -> tuple[float, float, float]:
    """Train the sweep; return its training seconds, its wall seconds and its CPU seconds."""
    place.mkdir()
    recipe = place / "recipe.yaml"
    recipe.write_text(RECIPE.format(base=base, uri=uri, place=place))
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "jobs/sweep.py", str(recipe)], capture_output=True, check=False)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != code:
        raise FailedError(f"{uri}: the sweep ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    rows = [json.loads(line) for line in (place / "sweeps/outage/results.jsonl").read_text().splitlines()]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return sum(row["train_seconds"] for row in rows), wall, cpu


def _ratios(taken: Sequence[float], others: Sequence[float]) -> str:
    """Return two cells: the median of the ratios by round, and all ratios."""
    ratios = [own / other for own, other in zip(taken, others, strict=True)]
    return f"{statistics.median(ratios):.3f} | {' '.join(f'{ratio:.3f}' for ratio in ratios)}"


def main(rounds: int, wanted: Sequence[str] = ()) -> None:
    """Measure and print; ``wanted`` are the arms beside "none", by default all."""
    seconds: dict[str, list[tuple[float, float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder, hanging() as silent:
        base = ensure_tiny_base(Path(folder), settings=TinySettings(steps=10))
        arms = {"none": ("none", 0), "up (SQLite)": ("sqlite:///{}/mlflow.db", 0)}
        arms |= {"down, refuses": ("http://127.0.0.1:9", 1), "down, hangs": (silent, 1)}
        arms = {name: arm for name, arm in arms.items() if name == "none" or not wanted or name in wanted}
        order = list(arms)
        for turn in range(rounds + 1):
            order.append(order.pop(0))
            for name in order:
                uri, code = arms[name]
                place = Path(folder) / f"{name.replace(' ', '-')}-{turn}"
                taken = sweep(uri.format(place), code, base, place)
                if turn:  # the first round warms the caches of files
                    seconds.setdefault(name, []).append(taken)
    lines = [
        *describe(),
        "",
        "| tracker | training, s | against none | by round | whole command, s | CPU, s | against none | by round |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, taken in seconds.items():
        training, wall, cpu = zip(*taken, strict=True)
        none_training, _, none_cpu = zip(*seconds["none"], strict=True)
        lines.append(
            f"| {name} | {statistics.median(training):.2f} | {_ratios(training, none_training)} "
            f"| {statistics.median(wall):.1f} | {statistics.median(cpu):.1f} | {_ratios(cpu, none_cpu)} |"
        )
    print("\n".join(lines))  # noqa: T201 - the table is the output of this command


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, sys.argv[2:])
