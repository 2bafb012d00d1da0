"""Axes, ticks and line styles that the figures of the report share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Tick(NamedTuple):
    """A labelled position on an axis or in a plot: ``x`` in percent of the width, ``y`` in pixels.

    ``anchor`` is the end of the label that stands at the position: start, middle or end.
    """

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


def tick_label(value: float) -> str:
    """Return the label of a tick."""
    return f"{round(value, 6) + 0.0:g}".replace("-", "\N{MINUS SIGN}")


LEFT, RIGHT = 12.0, 96.0
"""The ends of an axis below panels, in percent of the width: the labels of the other axis stand left of it."""
FEW = 6
"""Up to this many values are evenly spaced, each with its label: more labels would not fit on a phone."""


class Axis(NamedTuple):
    """The axis below both panels: its name, its labels, and how far series stand apart (``spread``, in percent).

    ``x`` turns a value into a position in percent of the width.
    """

    name: str
    x: Callable[[float], float]
    labels: list[Tick]
    spread: float = 0.0


def in_order(name: str, values: Sequence[float], label: Callable[[float], str]) -> Axis:
    """Return an axis of a few values, evenly spaced whatever lies between them."""
    known = sorted(set(values))
    step = (RIGHT - LEFT) / len(known)
    x = {value: LEFT + step * (index + 0.5) for index, value in enumerate(known)}
    return Axis(name, x.__getitem__, [_below(label(value), x[value]) for value in known], step * 0.6)


def logarithmic(name: str, values: Sequence[float], label: Callable[[float], str]) -> Axis:
    """Return an axis on which equal ratios are equal lengths; the values are above 0 and not all the same."""
    low, high = math.log10(min(values)), math.log10(max(values))

    def x(value: float) -> float:
        return round(LEFT + 2 + (RIGHT - LEFT - 4) * (math.log10(value) - low) / (high - low), 2)

    return Axis(name, x, [_below(label(value), x(value)) for value in round_ratios(min(values), max(values))])


def counted(name: str, most: int) -> Axis:
    """Return an axis from 1 to ``most``, which is 2 or more."""

    def x(value: float) -> float:
        return round(LEFT + 2 + (RIGHT - LEFT - 4) * (value - 1) / (most - 1), 2)

    shown = range(1, most + 1) if most <= FEW else [1, *(int(value) for value in ticks(1, most) if value > 1)]
    return Axis(name, x, [_below(str(value), x(value)) for value in shown])


def round_ratios(low: float, high: float) -> list[float]:
    """Return three to six round values from ``low`` to ``high`` on a logarithmic axis.

    If fewer than two values are round, return ``low`` and ``high``.
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for leading in ((1,), (1, 3), (1, 2, 5)):
        values = [digit * 10.0**power for power in decades for digit in leading]
        values = [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(values) > 2:
            return values[:: -(-len(values) // FEW)]
    return values if len(values) > 1 else [low, high]


def _below(label: str, x: float) -> Tick:
    return Tick(label, round(x, 2), 0.0, "middle")


STYLES = 6
"""How many colours, each with its own dashes, the page's style sheet has; further methods begin again."""
