"""What the end of a large sweep costs its driver: rows and predictions of N finished runs, summarised.

    python -m benchmarks.simulations.many_runs [RUNS [ITEMS]]     # 100,000 runs of 384 items without numbers

Eight tasks, 25 methods, one rate, and as many seeds as it takes, so that the summary asks for the predictions of every
run. They are made at that moment, as the driver reads them from a file at that moment.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.measuring.machine import describe
from orchestrator.summary.summary import summary_of

TASKS, METHODS = 8, 25


class Drawn(Mapping[str, list[dict[str, Any]]]):
    """Predictions of each run, drawn from its key: right with the run's accuracy."""

    def __init__(self, accuracies: Mapping[str, float], items: int) -> None:
        self._accuracies, self._items = accuracies, items

    def __getitem__(self, key: str) -> list[dict[str, Any]]:
        drawn, accuracy = random.Random(key), self._accuracies[key]  # noqa: S311 - no secret
        right = (drawn.random() < accuracy for _ in range(self._items))
        return [
            {"index": index, "answer": 0, "predicted": 0 if one else 1, "scores": [-1.0, -2.0, -3.0, -4.0]}
            for index, one in enumerate(right)
        ]

    def __iter__(self) -> Iterator[str]:
        return iter(self._accuracies)

    def __len__(self) -> int:
        return len(self._accuracies)


def rows_of(runs: int) -> list[dict[str, Any]]:
    """Return the rows of ``results.jsonl``."""
    drawn, seeds, rows = random.Random(0), -(-runs // (TASKS * METHODS)), []  # noqa: S311 - no secret
    for number in range(runs):
        rest, seed = divmod(number, seeds)
        task, method = divmod(rest, METHODS)
        accuracy = min(0.95, max(0.05, drawn.gauss(0.5 + 0.002 * method, 0.03)))
        figures = {name: drawn.random() for name in ("train_loss", "eval_loss", "train_loss_change", "accuracy_norm")}
        figures |= {
            "accuracy": accuracy,
            "validation_accuracy": accuracy,
            "train_loss_volatility": 0.1 + drawn.random(),
        }
        row = {"run_key": f"{number:016x}", "task": f"task-{task}", "method": f"method-{method}", "lr": 1e-4}
        row |= {"seed": seed, "status": "committed", "settings": {"rank": 8}, "ties": 0, "steps": 360, **figures}
        row |= {"tokens": 100_000, "train_seconds": 60.0, "trainable_parameters": 10_000, "base_accuracy": 0.3}
        rows.append(row)
    return rows


def main(runs: int, items: int) -> None:
    """Measure and print."""
    rows = rows_of(runs)
    begin = time.monotonic()
    summary_of(rows, Drawn({row["run_key"]: row["accuracy"] for row in rows}, items))
    seconds, peak = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    lines = [*describe(), "", "| runs | items | summary, s | peak of the process, GB |", "|---|---|---|---|"]
    lines.append(f"| {runs:,} | {items:,} | {seconds:.1f} | {peak:.2f} |")
    print("\n".join(lines))  # noqa: T201 - the table is the output of this command


if __name__ == "__main__":
    main(*(int(word) for word in (sys.argv[1:] + ["100000", "384"][len(sys.argv) - 1 :])))
