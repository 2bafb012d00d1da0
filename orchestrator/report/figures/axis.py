"""Axes, ticks and line styles that the figures of the report share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Place(NamedTuple):
    """A labelled position: ``x`` in percent of the width, ``y`` in pixels."""

    label: str
    x: float
    y: float
    anchor: str


def domain(values: Sequence[float], limits: tuple[float, float]) -> tuple[float, float]:
    """Return an axis that holds the values, not narrower than 2 points, within the limits."""
    low, high = min(values), max(values)
    slack = max(0.0, 0.02 - (high - low)) / 2
    low, high = max(limits[0], low - slack), min(limits[1], high + slack)
    return (low, high) if high - low > 1e-9 else (limits[0], limits[1])


def ticks(low: float, high: float) -> list[float]:
    """Return three to six round values within the axis."""
    magnitude = 10 ** math.floor(math.log10(high - low))
    step = next(s * magnitude for s in (0.1, 0.2, 0.5, 1.0, 2.0) if (high - low) / (s * magnitude) <= 5.5)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def tick(value: float) -> str:
    """Return the label of a tick."""
    return f"{round(value, 6) + 0.0:g}".replace("-", "\N{MINUS SIGN}")


LEFT, RIGHT = 12.0, 96.0
"""Where the axis begins and ends in percent of the width: its values' labels stand before it."""
FEW = 6
"""As many positions are evenly spaced and each has its label: more would not fit on a phone."""


class Axis(NamedTuple):
    """What lies below both panels: its name, where a value is in percent, its labels, and how far lines stand apart."""

    name: str
    place: Callable[[float], float]
    labels: list[Place]
    spread: float = 0.0


def in_order(name: str, values: Sequence[float], label: Callable[[float], str]) -> Axis:
    """Return an axis of a few values, evenly spaced whatever lies between them."""
    known = sorted(set(values))
    step = (RIGHT - LEFT) / len(known)
    where = {value: LEFT + step * (index + 0.5) for index, value in enumerate(known)}
    return Axis(name, where.__getitem__, [_below(label(value), where[value]) for value in known], step * 0.6)


def logarithmic(name: str, values: Sequence[float], label: Callable[[float], str]) -> Axis:
    """Return an axis on which equal ratios are equal lengths; the values are above 0 and not all the same."""
    low, high = math.log10(min(values)), math.log10(max(values))

    def place(value: float) -> float:
        return round(LEFT + 2 + (RIGHT - LEFT - 4) * (math.log10(value) - low) / (high - low), 2)

    return Axis(name, place, [_below(label(value), place(value)) for value in round_ratios(min(values), max(values))])


def counted(name: str, most: int) -> Axis:
    """Return an axis from 1 to ``most``, which is 2 or more."""

    def place(value: float) -> float:
        return round(LEFT + 2 + (RIGHT - LEFT - 4) * (value - 1) / (most - 1), 2)

    shown = range(1, most + 1) if most <= FEW else [1, *(int(one) for one in ticks(1, most) if one > 1)]
    return Axis(name, place, [_below(str(one), place(one)) for one in shown])


def round_ratios(low: float, high: float) -> list[float]:
    """Return about three to six round values between two, on a logarithmic axis; the two where there is none."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for leading in ((1,), (1, 3), (1, 2, 5)):
        found = [digit * 10.0**power for power in decades for digit in leading]
        found = [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(found) > 2:
            return found[:: -(-len(found) // FEW)]
    return found if len(found) > 1 else [low, high]


def _below(label: str, x: float) -> Place:
    return Place(label, round(x, 2), 0.0, "middle")


STYLES = 6
"""Colours with dashes of their own that the page has; further methods begin again."""
