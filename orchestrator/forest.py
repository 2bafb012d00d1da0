"""The geometry of a forest plot: where each mean, interval and seed lies on a shared axis, in percent of its width."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from orchestrator.csv_link import csv_link

MARGIN = 3.0
"""Free space at either end of the axis, in percent of its width."""
HEAD, LINE, FOOT = 14, 46, 26
"""Heights in pixels: above the first row (and for each reference's label), of a row, of the axis."""


class Estimate(NamedTuple):
    """One row: a mean, its interval if there is one, the single seeds, and the words beside it."""

    label: str
    mean: float
    interval: Sequence[float] | None
    seeds: Sequence[float]
    note: str = ""
    strong: bool = False


class Place(NamedTuple):
    """A labelled position: ``x`` in percent of the width, ``y`` in pixels."""

    label: str
    x: float
    y: float
    anchor: str


class Drawn(NamedTuple):
    """An estimate with its positions."""

    estimate: Estimate
    y: float
    mean: float
    low: float | None
    high: float | None
    seeds: list[float]


class Forest(NamedTuple):
    """A whole plot, and the same in words."""

    title: str
    words: str
    height: float
    top: float
    bottom: float
    rows: list[Drawn]
    references: list[Place]
    ticks: list[Place]
    csv: str


def draw(
    title: str, estimates: Sequence[Estimate], references: Sequence[tuple[str, float]], limits: tuple[float, float]
) -> Forest:
    """Return the plot of ``estimates`` with vertical ``references``; nothing lies outside ``limits``."""
    values = [value for each in estimates for value in (each.mean, *each.seeds, *(each.interval or ()))]
    low, high = domain(values + [value for _, value in references], limits)

    def x(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return round(MARGIN + (100 - 2 * MARGIN) * share, 2)

    top = float(HEAD * (len(references) + 1))
    bottom = top + LINE * len(estimates)
    return Forest(
        title=title,
        words=" ".join(_words(each) for each in estimates),
        height=bottom + FOOT,
        top=top,
        bottom=bottom,
        rows=[_drawn(each, top + LINE * i, x) for i, each in enumerate(estimates)],
        references=[
            Place(label, x(value), HEAD * (i + 1.0), "start" if x(value) < 60 else "end")
            for i, (label, value) in enumerate(references)
        ],
        ticks=[Place(tick(100 * value), x(value), bottom + 17, "middle") for value in ticks(low, high)],
        csv=csv_link(
            ("label", "mean", "low", "high", "seeds"),
            (
                (each.label, each.mean, *(each.interval or (None, None)), " ".join(map(repr, each.seeds)))
                for each in estimates
            ),
        ),
    )


def _drawn(each: Estimate, y: float, x: Callable[[float], float]) -> Drawn:
    low, high = (x(each.interval[0]), x(each.interval[1])) if each.interval else (None, None)
    return Drawn(each, y, x(each.mean), low, high, [x(seed) for seed in each.seeds])


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


def _words(each: Estimate) -> str:
    return f"{each.label}: {each.note}." if each.note else f"{each.label}."
