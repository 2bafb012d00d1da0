"""The figures and tables that a tracker shows on a sweep's parents, written as files below a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.report.figures.rates import best_methods
from orchestrator.report.loss_curves import chosen, curve_band, losses
from orchestrator.summary.schema import ResultRow
from orchestrator.tracking.figures.accuracy import accuracy_figure
from orchestrator.tracking.figures.best_of import best_of_figure
from orchestrator.tracking.figures.curves import curves_figure
from orchestrator.tracking.figures.plots import MOST, png
from orchestrator.tracking.figures.rates import rates_figure
from orchestrator.tracking.figures.tables import ACCURACY_TABLE, RUNS_TABLE, accuracy_table, runs_table

ACCURACY, CURVES = "figures/accuracy.png", "figures/learning_curves.png"
RATES, BEST_OF = "figures/learning_rates.png", "figures/best_of_n.png"


def write_sweep_files(summary: Mapping[str, Any], rows: Sequence[ResultRow], folder: Path, place: Path) -> None:
    """Write the files of the sweep's own page below ``place``; ``folder`` is the sweep's, with the step logs."""
    _put(place / ACCURACY, png(accuracy_figure(summary, rows)))
    bands = {
        task: {
            method: curve_band(losses(chosen(rows, task, method, statistics), folder))
            for method, statistics in best_methods(content["methods"], MOST).items()
        }
        for task, content in summary["tasks"].items()
    }
    _put(place / CURVES, png(curves_figure(bands)))
    for name, figure in ((RATES, rates_figure(summary)), (BEST_OF, best_of_figure(summary))):
        if figure:
            _put(place / name, png(figure))
    _put(place / ACCURACY_TABLE, accuracy_table(summary))


def write_group_files(
    task: str, method: str, statistics: Mapping[str, Any], rows: Sequence[ResultRow], folder: Path, place: Path
) -> None:
    """Write the files of the page of a task and a method below ``place``; ``statistics`` are the method's summary."""
    curves = losses(chosen(rows, task, method, statistics), folder)
    _put(place / CURVES, png(curves_figure({task: {method: curve_band(curves)}}, single=curves)))
    _put(place / RUNS_TABLE, runs_table(rows, task, method))


def _put(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
