"""Per cell its numbers over all nights, with change points: what the trend page draws. Shown, never a verdict.

Accuracies are drawn over all nights of the same base, rows and settings. Seconds and memory are drawn within one series
only (`bytes.series_of`), because another machine or another library is another clock. Broken nights are marked and are
in no stretch between change points.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.statistics.change_points import change_points
from orchestrator.verdict.bytes import series_of
from orchestrator.verdict.night import CanaryRun, Cell, Night, Status


@dataclass(frozen=True)
class Line:
    """One number over nights: ``values`` (None: none on that night), ``statuses``, and the nights of a new level.

    A robust summary stands for a night: the mean over test items and seeds for accuracies, the median over runs for
    seconds and bytes. ``series`` numbers the stretches of nights that are comparable, from 0.
    """

    measure: str
    nights: tuple[str, ...]
    values: tuple[float | None, ...]
    statuses: tuple[Status | None, ...]
    series: tuple[int, ...]
    changed: tuple[str, ...]


def lines_of(nights: Sequence[Night], cell: Cell) -> tuple[Line, ...]:
    """Return the lines of a cell: accuracy, seconds, bytes."""
    return (
        _line("accuracy", nights, cell, lambda run: run.accuracy, statistics.fmean, _comparable),
        _line("seconds", nights, cell, lambda run: run.seconds, statistics.median, lambda n: series_of(n.world)),
        _line("bytes", nights, cell, lambda run: run.bytes, statistics.median, lambda n: series_of(n.world)),
    )


def _comparable(night: Night) -> object:
    world = night.world
    return world.base, tuple(sorted(world.rows.items())), world.settings


def _line(
    measure: str,
    nights: Sequence[Night],
    cell: Cell,
    value_of: Callable[[CanaryRun], float | None],
    summary: Callable[[list[float]], float],
    key: Callable[[Night], object],
) -> Line:
    values: list[float | None] = []
    for night in nights:
        measured = [value_of(run) for run in night.runs if run.cell == cell and run.right]
        known = [float(value) for value in measured if value is not None]
        values.append(summary(known) if known else None)
    keys: list[object] = []
    numbers = []
    for night in nights:
        if key(night) not in keys:
            keys.append(key(night))
        numbers.append(keys.index(key(night)))
    return Line(
        measure,
        tuple(night.name for night in nights),
        tuple(values),
        tuple(night.status for night in nights),
        tuple(numbers),
        _changed(nights, values, numbers),
    )


def _changed(nights: Sequence[Night], values: Sequence[float | None], series: Sequence[int]) -> tuple[str, ...]:
    """Return the nights on which a new level began, within each series; broken nights are left out."""
    changed: list[str] = []
    for number in sorted(set(series)):
        whole = [
            (night.name, value)
            for night, value, of in zip(nights, values, series, strict=True)
            if of == number and value is not None and night.status != "incomplete"
        ]
        changed += [whole[point.at][0] for point in change_points([value for _, value in whole])]
    return tuple(sorted(changed))
