"""The geometry of a forest plot: positions of means, intervals and seeds on a shared axis, in percent of the width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from orchestrator.report.figures.axis import Tick, domain, tick_label, ticks
from orchestrator.report.figures.csv_link import csv_link

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


class Drawn(NamedTuple):
    """An estimate with its positions."""

    estimate: Estimate
    y: float
    mean: float
    low: float | None
    high: float | None
    seeds: list[float]


class Forest(NamedTuple):
    """A forest plot, its content in words, and its numbers as CSV."""

    title: str
    words: str
    height: float
    top: float
    bottom: float
    rows: list[Drawn]
    references: list[Tick]
    ticks: list[Tick]
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
            Tick(label, x(value), HEAD * (i + 1.0), "start" if x(value) < 60 else "end")
            for i, (label, value) in enumerate(references)
        ],
        ticks=[Tick(tick_label(100 * value), x(value), bottom + 17, "middle") for value in ticks(low, high)],
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


def _words(each: Estimate) -> str:
    return f"{each.label}: {each.note}." if each.note else f"{each.label}."
