"""Equality of bytes: whether a cell's fixed runs are those of an earlier night, and the first step that differs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest

from orchestrator.verdict.night import Cell, Night, World
from orchestrator.verdict.verdict import Bytes

SeriesKey = tuple[object, ...]
"""All of a world that seconds, memory and bytes depend on without anybody having changed the code."""


def series_of(world: World) -> SeriesKey:
    """Return the series of a night: its kind of machine, versions, base, rows and settings, but not its code."""
    versions, rows = tuple(sorted(world.versions.items())), tuple(sorted(world.rows.items()))
    return world.machine, versions, world.base, rows, world.settings


def twin_of(nights: Sequence[Night], tonight: Night) -> Night | None:
    """Return the night that tonight's bytes are compared with; None without nights.

    It is the newest night with equal bytes, whatever its series, because equal bytes are equal bytes. Without one it is
    the newest night of tonight's series, or else the newest.
    """
    if not nights:
        return None
    series = series_of(tonight.world)
    equal = (night for night in reversed(nights) if night.digests == tonight.digests)
    alike = (night for night in reversed(nights) if series_of(night.world) == series)
    return next(equal, None) or next(alike, nights[-1])


def bytes_of(twin: Night | None, tonight: Night, cell: Cell) -> Bytes:
    """Return the comparison of the cell's fixed runs with those of the twin; without shared seeds ``equal`` is None."""
    if twin is None:
        return Bytes(None)
    before, now = twin.digests.get(cell, {}), tonight.digests.get(cell, {})
    comparable = series_of(twin.world) == series_of(tonight.world)
    shared = sorted(before.keys() & now.keys())
    if not shared:
        return Bytes(None, twin.name, comparable)
    run = next((seed for seed in shared if before[seed] != now[seed]), None)
    return Bytes(run is None, twin.name, comparable, run)


def is_same(one: Night, other: Night, cell: Cell) -> bool:
    """Return whether the bytes of the cell's fixed runs are equal on both nights."""
    return one.digests.get(cell) == other.digests.get(cell)


def first_difference(before: Sequence[float], now: Sequence[float]) -> int | None:
    """Return the first step, counted from 1, whose losses differ in any bit; None if all are equal.

    A step that only one of both has differs. Losses that are no numbers are equal.
    """
    for step, (one, other) in enumerate(zip_longest(before, now), start=1):
        if one is None or other is None or not (one == other or (math.isnan(one) and math.isnan(other))):
            return step
    return None
