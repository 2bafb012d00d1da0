"""Small figures, one set per task, for the chart view of a tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.summary.schema import ResultRow
from orchestrator.tracking.figures.accuracy import accuracy_figure
from orchestrator.tracking.figures.best_of import best_of_figure
from orchestrator.tracking.figures.plots import png
from orchestrator.tracking.figures.rates import rates_figure

SQUARE = (3.6, 3.6)  # inches: MLflow shows a chart's picture 256 pixels wide, and letters must be read there


def write_charts(summary: Mapping[str, Any], rows: Sequence[ResultRow], place: Path) -> dict[str, Path]:
    """Write the charts of each task into the folder ``place``, made if missing; return the files by chart name."""
    place.mkdir(parents=True, exist_ok=True)
    files: dict[str, Path] = {}
    for task, content in summary["tasks"].items():
        alone = {"tasks": {task: content}}
        figures = {"accuracy": accuracy_figure(alone, rows), "learning rates": rates_figure(alone)}
        for kind, figure in (figures | {"best of n": best_of_figure(alone)}).items():
            if figure:
                figure.set_size_inches(SQUARE)
                file = files[f"{kind} {task}"] = place / f"{len(files)}.png"
                file.write_bytes(png(figure))
    return files
