"""Pure: the numbers of one cell over the nights, with the nights that count for nothing and those that changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

MEASURES = ("accuracy", "seconds", "memory")
LEVELS = ("worse", "better")
"""Statuses of a cell whose first night is a change of its accuracy."""


class Point(NamedTuple):
    """A cell on a night: its value, None without one, and whether the night or the cell is broken."""

    night: str
    value: float | None
    broken: bool


class Series(NamedTuple):
    """A measure of a cell over the nights, the oldest first.

    ``changes`` are nights at which the level changed: the cell's first nights of "worse" and "better", and the change
    points of a search over the history. ``moved`` are the nights on which the ruler moved.
    """

    points: list[Point]
    changes: frozenset[str]
    moved: frozenset[str]

    @property
    def known(self) -> list[float]:
        """The values of the nights that count."""
        return [point.value for point in self.points if point.value is not None and not point.broken]


def cells_of(rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the cells of all nights, in the order in which they were first measured."""
    return list(dict.fromkeys((cell["task"], cell["method"]) for row in rows for cell in row.get("cells") or ()))


def series_of(
    rows: Sequence[Mapping[str, Any]], cell: tuple[str, str], measure: str, points: Mapping[str, Any] | None = None
) -> Series:
    """Return the series of a cell; ``points`` are its change points by measure, from ``night.json``."""
    changes = set((points or {}).get(measure) or ())
    if measure == "accuracy":
        statuses = [_of(row, cell).get("status") for row in rows]
        changes |= {
            str(row["night"])
            for row, before, status in zip(rows, [None, *statuses], statuses, strict=False)
            if status in LEVELS and status != before
        }
    return Series(
        [_point(row, cell, measure) for row in rows],
        frozenset(changes),
        frozenset(str(row["night"]) for row in rows if row["verdict"] == "ruler_moved"),
    )


def _point(row: Mapping[str, Any], cell: tuple[str, str], measure: str) -> Point:
    own = _of(row, cell)
    broken = row["verdict"] == "incomplete" or own.get("status") == "broken"
    return Point(str(row["night"]), own.get(measure), broken)


def _of(row: Mapping[str, Any], cell: tuple[str, str]) -> Mapping[str, Any]:
    """Return the columns of a cell in a row of ``nights.jsonl``; {} if the row lacks the cell."""
    return next((one for one in row.get("cells") or () if (one["task"], one["method"]) == cell), {})
