"""The few figures and tables that a sweep's parents show in a tracker, from results and the steps of its runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.report.figures.rates import best_methods
from orchestrator.report.loss_curves import chosen, curve_band, losses
from orchestrator.summary.schema import ResultRow
from orchestrator.tracking.figures.accuracy import COLUMNS, accuracy_figure, accuracy_rows
from orchestrator.tracking.figures.best_of import budgets_figure
from orchestrator.tracking.figures.curves import curves_figure
from orchestrator.tracking.figures.plots import MOST, RUNS, TABLE, png
from orchestrator.tracking.figures.rates import rates_figure

ACCURACY, CURVES = "figures/accuracy.png", "figures/learning_curves.png"
RATES, BUDGETS = "figures/learning_rates.png", "figures/best_of_n.png"
SQUARE = (3.6, 3.6)  # inches: MLflow shows a chart's picture 256 pixels wide, and letters must be read there
SWEEP_TABLES, GROUP_TABLES = (TABLE,), (RUNS,)
RUN_COLUMNS = (
    *("seed", "lr", "status", "accuracy", "validation_accuracy", "eval_loss", "train_loss_volatility"),
    *("train_seconds", "run_key"),
)


def write_sweep_files(summary: Mapping[str, Any], rows: Sequence[ResultRow], folder: Path, place: Path) -> None:
    """Write what the sweep's own page shows below ``place``."""
    _put(place / ACCURACY, png(accuracy_figure(summary, rows)))
    bands = {
        task: {
            method: curve_band(losses(chosen(rows, task, method, one), folder))
            for method, one in best_methods(content["methods"], MOST).items()
        }
        for task, content in summary["tasks"].items()
    }
    _put(place / CURVES, png(curves_figure(bands)))
    for name, figure in ((RATES, rates_figure(summary)), (BUDGETS, budgets_figure(summary))):
        if figure:
            _put(place / name, png(figure))
    _put(place / TABLE, table(COLUMNS, accuracy_rows(summary)))


def write_charts(summary: Mapping[str, Any], rows: Sequence[ResultRow], place: Path) -> dict[str, Path]:
    """Write small figures below ``place``, one a task; return them by the names that they have among the charts."""
    found: dict[str, Path] = {}
    for task, content in summary["tasks"].items():
        alone = {"tasks": {task: content}}
        drawn = {"accuracy": accuracy_figure(alone, rows), "learning rates": rates_figure(alone)}
        for what, figure in (drawn | {"best of n": budgets_figure(alone)}).items():
            if figure:
                figure.set_size_inches(SQUARE)
                found[f"{what} {task}"] = place / f"{len(found)}.png"
                _put(found[f"{what} {task}"], png(figure))
    return found


def write_group_files(
    task: str, method: str, one: Mapping[str, Any], rows: Sequence[ResultRow], folder: Path, place: Path
) -> None:
    """Write what the page of a task and a method shows below ``place``."""
    curves = losses(chosen(rows, task, method, one), folder)
    _put(place / CURVES, png(curves_figure({task: {method: curve_band(curves)}}, single=curves)))
    mine = [row for row in rows if (row["task"], row["method"]) == (task, method)]
    _put(place / RUNS, table(RUN_COLUMNS, [[row.get(name) for name in RUN_COLUMNS] for row in mine]))


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """Return a table as MLflow's pages read one: what its ``log_table`` writes, which adds to a table that is there."""
    return json.dumps({"columns": list(columns), "data": [list(row) for row in rows]}, allow_nan=False).encode()


def _put(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
