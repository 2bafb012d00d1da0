"""The geometry of two panels, validation and test, that share an axis: lines, markers, intervals, lost runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from orchestrator.report.figures.axis import STYLES, Axis, Tick, domain, tick_label, ticks

PANELS = ("validation", "test")
TOP, BOTTOM = 10.0, 190.0
"""Where the highest and the lowest value lie, in pixels of a panel 200 high."""
LOST_LINE = 17
"""Height in pixels of the line of signs of lost runs, one line per series, below a panel."""
SHAPES = (
    "M-4.5 0A4.5 4.5 0 1 0 4.5 0A4.5 4.5 0 1 0 -4.5 0Z",  # circle
    "M-4 -4H4V4H-4Z",  # square
    "M0 -5.5L5 4H-5Z",  # triangle
    "M0 -6L5.5 0L0 6L-5.5 0Z",  # diamond
    "M0 5.5L5 -4H-5Z",  # triangle on its tip
)
"""Markers around 0, in pixels. They and the dashes of `STYLES` repeat after 30 lines together, not after 6."""


class Spot(NamedTuple):
    """The values of both panels at ``x`` (None without a value), and their intervals.

    ``hollow`` marks values over fewer runs than were planned, ``ringed`` marks the chosen setting. ``lost`` are the
    signs of the runs that are not in the values.
    """

    x: float
    values: tuple[float | None, float | None]
    intervals: tuple[Sequence[float] | None, Sequence[float] | None] = (None, None)
    hollow: bool = False
    ringed: bool = False
    lost: str = ""


class Series(NamedTuple):
    """A line: its name, the legend's note on it, each panel's words on it, and its spots from left to right.

    ``style`` is the position of the method among the methods of its task. It decides colour, dashes and marker, so that
    all figures draw a method alike.
    """

    label: str
    style: int
    note: str
    words: tuple[str, str]
    spots: Sequence[Spot]


class Look(NamedTuple):
    """How a series is drawn, and its line of the legend."""

    label: str
    note: str
    style: int
    shape: str


class Mark(NamedTuple):
    """A spot with its position: ``x`` in percent, ``y`` and the ends of its interval in pixels."""

    x: float
    y: float
    ends: tuple[float, float] | None
    hollow: bool
    ringed: bool


class Line(NamedTuple):
    """A series in one panel; ``points`` are in a square of 100."""

    look: Look
    points: str
    marks: list[Mark]


class Lost(NamedTuple):
    """The signs below a panel of the runs that a series has lost."""

    look: Look
    signs: list[Tick]


class Panel(NamedTuple):
    """One of the two panels, and its content in words."""

    name: str
    words: str
    lines: list[Line]
    lost: list[Lost]


class PanelPlot(NamedTuple):
    """A whole figure: ``up`` is in pixels, ``across`` in percent; at ``bottom`` the panels end and the axis begins."""

    title: str
    help: str
    axis: str
    panels: list[Panel]
    up: list[Tick]
    across: list[Tick]
    bottom: int
    legend: list[Look]
    csv: str


def draw_panels(title: str, help_text: str, axis: Axis, series: Sequence[Series], csv: str) -> PanelPlot | None:
    """Return the figure of accuracies (shares), or None where no series has a value."""
    spots = [spot for line in series for spot in line.spots]
    known = [value for spot in spots for value in spot.values if value is not None]
    known += [end for spot in spots for interval in spot.intervals for end in interval or ()]
    if not known:
        return None
    low, high = domain([min(max(value, 0.0), 1.0) for value in known], (0.0, 1.0))

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (min(max(value, low), high) - low) / (high - low), 2)

    looks = [_look(line) for line in series]
    losing = [line.label for line in series if any(spot.lost for spot in line.spots)]
    placed = list(zip(_apart(axis, series), looks, strict=True))
    panels = [
        Panel(
            name,
            " ".join(line.words[panel] for line in series),
            [_line(line, look, panel, y) for line, look in placed],
            [_lost(line, look, losing) for line, look in placed if line.label in losing],
        )
        for panel, name in enumerate(PANELS)
    ]
    up = [Tick(tick_label(100 * value), 0.0, y(value), "start") for value in ticks(low, high)]
    return PanelPlot(title, help_text, axis.name, panels, up, axis.labels, 200 + LOST_LINE * len(losing), looks, csv)


def _look(series: Series) -> Look:
    style = series.style
    return Look(series.label, series.note, style % STYLES + 1, SHAPES[style % len(SHAPES)])


def _apart(axis: Axis, series: Sequence[Series]) -> list[Series]:
    """Return the series with ``x`` in percent of the width, side by side if the axis has room."""
    shifts = [axis.spread * ((index + 0.5) / len(series) - 0.5) for index in range(len(series))]
    return [
        line._replace(spots=[spot._replace(x=round(axis.x(spot.x) + shift, 2)) for spot in line.spots])
        for line, shift in zip(series, shifts, strict=True)
    ]


def _line(placed: Series, look: Look, panel: int, y: Callable[[float], float]) -> Line:
    marks = []
    for spot in placed.spots:
        value, interval = spot.values[panel], spot.intervals[panel]
        if value is not None:
            ends = (y(interval[0]), y(interval[1])) if interval else None
            marks.append(Mark(spot.x, y(value), ends, spot.hollow, spot.ringed))
    return Line(look, " ".join(f"{mark.x},{mark.y / 2:g}" for mark in marks), marks)


def _lost(placed: Series, look: Look, losing: Sequence[str]) -> Lost:
    """Return the signs of the runs that a series has lost, on a line of its own."""
    y = 200 + LOST_LINE * (losing.index(placed.label) + 0.5)
    signs = [(spot.lost, spot.x) for spot in placed.spots if spot.lost]
    return Lost(look, [Tick(sign, x, y, "end" if x > 70 else "start") for sign, x in signs])  # within the page
