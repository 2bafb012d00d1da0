"""The tables that a tracker shows: one row per task and method on a sweep, one row per run on a group."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.summary.schema import LOST, ResultRow

ACCURACY_TABLE, RUNS_TABLE = "tables/accuracy.json", "tables/runs.json"
ACCURACY_COLUMNS = (
    *("task", "method", "lr", "n", "mean_accuracy", "sd_accuracy", "interval_low", "interval_high", "worst_seed"),
    *(*LOST, "base_accuracy", "train_loss_volatility"),
)
RUN_COLUMNS = (
    *("seed", "lr", "status", "accuracy", "validation_accuracy", "eval_loss", "train_loss_volatility"),
    *("train_seconds", "run_key"),
)


def accuracy_table(summary: Mapping[str, Any]) -> bytes:
    """Return the accuracies of all methods: one row per task and method."""
    rows = []
    for task, content in summary["tasks"].items():
        for method, statistics in content["methods"].items():
            low, high = statistics["interval"] or (None, None)
            accuracies = [statistics["mean"], statistics["sd"], low, high, statistics["worst_seed"]]
            lost = [statistics[ending] for ending in LOST]
            head = [task, method, statistics["lr"], statistics["n"]]
            rows.append([*head, *accuracies, *lost, statistics["base_accuracy"], statistics["volatility"]])
    return table_bytes(ACCURACY_COLUMNS, rows)


def runs_table(rows: Sequence[ResultRow], task: str, method: str) -> bytes:
    """Return the runs of a task and a method: one row per run, of any rate and any end."""
    matching = [row for row in rows if (row["task"], row["method"]) == (task, method)]
    return table_bytes(RUN_COLUMNS, [[row.get(name) for name in RUN_COLUMNS] for row in matching])


def table_bytes(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """Return a table in the form that MLflow's pages read.

    MLflow's own ``log_table`` writes this form too, but appends to a table of the same name.
    """
    return json.dumps({"columns": list(columns), "data": [list(row) for row in rows]}, allow_nan=False).encode()
