"""The panels of a cell: accuracy, training time and peak memory over the nights, and the numbers as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from orchestrator.nightly.pages.series import MEASURES, series_of
from orchestrator.nightly.pages.spark import Scale, Spark, draw_spark
from orchestrator.nightly.words import cell_name, duration, size
from orchestrator.report.figures.csv_link import csv_link
from orchestrator.wording import percent

SCALES = {
    "accuracy": Scale(100.0, 2.0, percent),
    "seconds": Scale(1.0, 0.1, duration),
    "memory": Scale(1 / 2**20, 4.0, size),
}
TITLES = {"accuracy": "accuracy, in percent", "seconds": "training seconds", "memory": "peak memory, in MiB"}


class Panels(NamedTuple):
    """The panels of one cell; a measure that no night has is None."""

    task: str
    method: str
    accuracy: Spark | None
    seconds: Spark | None
    memory: Spark | None
    csv: str

    @property
    def name(self) -> str:
        """The name of the cell."""
        return cell_name({"task": self.task, "method": self.method})


def panels_of(rows: Sequence[Mapping[str, Any]], cell: tuple[str, str], tonight: Mapping[str, Any] | None) -> Panels:
    """Return the panels of a cell over the nights ``rows``; ``tonight`` is the cell in the newest ``night.json``."""
    points = (tonight or {}).get("change_points")
    series = {measure: series_of(rows, cell, measure, points) for measure in MEASURES}
    band = ((tonight or {}).get("baseline") or {}).get("interval")
    sparks = {
        measure: draw_spark(TITLES[measure], series[measure], SCALES[measure], band if measure == "accuracy" else None)
        for measure in MEASURES
    }
    return Panels(
        *cell,
        sparks["accuracy"],
        sparks["seconds"],
        sparks["memory"],
        csv_link(
            ("night", "verdict", *MEASURES),
            (
                (row["night"], row["verdict"], *(series[measure].points[index].value for measure in MEASURES))
                for index, row in enumerate(rows)
            ),
        ),
    )
