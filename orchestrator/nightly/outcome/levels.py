"""Pure: on which nights a cell's accuracy, training time or memory changed its level; marks of a page, never a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from orchestrator.statistics.change_points import change_points
from orchestrator.verdict.bytes import series_of
from orchestrator.verdict.night import CanaryRun, Cell, Night

MEASURES = ("accuracy", "seconds", "memory")


def levels_of(nights: Sequence[Night], cell: Cell) -> dict[str, list[str]]:
    """Return by measure the nights with which a new level begins; the last of ``nights`` is tonight.

    Incomplete nights are left out. Accuracy is compared under one base, one set of rows and one canary; seconds and
    memory within one series, because another machine or another version has a level of its own.
    """
    return {measure: _levels(nights, cell, measure) for measure in MEASURES}


def value_of(night: Night, cell: Cell, measure: str) -> float | None:
    """Return a measure of a cell on a night: mean accuracy (a share), median seconds, or median bytes of its runs."""
    runs = [run for run in night.runs if run.cell == cell and run.right]
    values = [value for run in runs if (value := _of(run, measure)) is not None]
    if not values:
        return None
    return sum(values) / len(values) if measure == "accuracy" else float(median(values))


def _levels(nights: Sequence[Night], cell: Cell, measure: str) -> list[str]:
    same = [night for night in nights if not night.broken and _kind(night, measure) == _kind(nights[-1], measure)]
    known = [(night.name, value) for night in same if (value := value_of(night, cell, measure)) is not None]
    return [known[point.index][0] for point in change_points([value for _, value in known])] if known else []


def _kind(night: Night, measure: str) -> object:
    world = night.world
    return (world.base, dict(world.rows), world.settings) if measure == "accuracy" else series_of(world)


def _of(run: CanaryRun, measure: str) -> float | None:
    return {"accuracy": run.accuracy, "seconds": run.seconds}.get(measure, run.bytes)
