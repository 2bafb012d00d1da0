"""The geometry of learning curves: lines and bands in a panel of 100 x 100, and the positions of their ticks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from orchestrator.report.figures.axis import STYLES, Tick, tick_label, ticks
from orchestrator.report.figures.csv_link import csv_link
from orchestrator.report.loss_curves import Band
from orchestrator.wording import count, number


class Line(NamedTuple):
    """A method's curve: the points of its mean over seeds, and of its band if there are two seeds."""

    label: str
    style: int
    mean: str
    band: str


class CurvePlot(NamedTuple):
    """A plot of learning curves, its content in words, and its numbers as CSV."""

    title: str
    words: str
    lines: list[Line]
    across: list[Tick]
    up: list[Tick]
    csv: str


def draw_curves(title: str, bands: Mapping[str, Band | None]) -> CurvePlot | None:
    """Return the plot, or None if no method has a curve. Ticks are in percent of the width and of the height."""
    known = {name: band for name, band in bands.items() if band is not None}
    if not known:
        return None
    left, right = _ends([step for band in known.values() for step in band.steps])
    low, high = _ends([value for band in known.values() for value in (*band.low, *band.high)])

    def x(step: float) -> float:
        return round(100 * (step - left) / (right - left), 2)

    def y(loss: float) -> float:
        return round(100 * (high - loss) / (high - low), 2)

    def points(band: Band, losses: list[float]) -> list[str]:
        return [f"{x(step)},{y(loss)}" for step, loss in zip(band.steps, losses, strict=True)]

    lines = [
        Line(
            f"{name} ({count(band.seeds, 'seed')})",
            index % STYLES + 1,
            " ".join(points(band, band.mean)),
            " ".join(points(band, band.low) + points(band, band.high)[::-1]) if band.seeds > 1 else "",
        )
        for index, (name, band) in enumerate(known.items())
    ]
    return CurvePlot(
        title,
        " ".join(
            f"{name}: from {number(band.mean[0], 3)} to {number(band.mean[-1], 3)}." for name, band in known.items()
        ),
        lines,
        [Tick(tick_label(step), x(step), 0.0, "middle") for step in ticks(left, right)],
        [Tick(tick_label(loss), 0.0, y(loss), "start") for loss in ticks(low, high)],
        csv_link(
            ("method", "step", "mean", "lowest_seed", "highest_seed", "seeds"),
            (
                (name, *point, band.seeds)
                for name, band in known.items()
                for point in zip(band.steps, band.mean, band.low, band.high, strict=True)
            ),
        ),
    )


def _ends(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high - low > 1e-9 else (low - 0.5, low + 0.5)
