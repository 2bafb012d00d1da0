"""The geometry of two panels, validation and test, that share an axis: lines with markers, intervals, what was lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from orchestrator.report.figures.axis import STYLES, Axis, Place, domain, tick, ticks

PANELS = ("validation", "test")
TOP, BOTTOM = 10.0, 190.0
"""Where the highest and the lowest value lie, in pixels of a panel 200 high."""
LOST_LINE = 17
"""Height in pixels of a line below a panel that says what was lost."""
SHAPES = (
    "M-4.5 0A4.5 4.5 0 1 0 4.5 0A4.5 4.5 0 1 0 -4.5 0Z",  # circle
    "M-4 -4H4V4H-4Z",  # square
    "M0 -5.5L5 4H-5Z",  # triangle
    "M0 -6L5.5 0L0 6L-5.5 0Z",  # diamond
    "M0 5.5L5 -4H-5Z",  # triangle on its tip
)
"""Markers around 0, in pixels. They and the dashes of `STYLES` repeat after 30 lines together, not after 6."""


class Spot(NamedTuple):
    """A value of each panel (None where there is none) at ``x``, the intervals, and what is said of it.

    ``hollow`` is of a value that rests on fewer runs than were planned, ``ringed`` is the one that was chosen; ``lost``
    are signs of what is not in the value.
    """

    x: float
    values: tuple[float | None, float | None]
    intervals: tuple[Sequence[float] | None, Sequence[float] | None] = (None, None)
    hollow: bool = False
    ringed: bool = False
    lost: str = ""


class Series(NamedTuple):
    """A line: its name, what the legend adds to it, what each panel says of it in words, and its spots from the left.

    ``place`` decides its look: that of the method in its task, so that all figures draw a method alike.
    """

    label: str
    place: int
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
    """The signs below a panel of what a series has lost."""

    look: Look
    signs: list[Place]


class Panel(NamedTuple):
    """One of the two, and the same in words."""

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
    up: list[Place]
    across: list[Place]
    bottom: int
    legend: list[Look]
    csv: str


def draw_panels(title: str, help_text: str, axis: Axis, series: Sequence[Series], csv: str) -> PanelPlot | None:
    """Return the figure of accuracies (shares), or None where no series has a value."""
    spots = [spot for one in series for spot in one.spots]
    known = [value for spot in spots for value in spot.values if value is not None]
    known += [end for spot in spots for interval in spot.intervals for end in interval or ()]
    if not known:
        return None
    low, high = domain([min(max(value, 0.0), 1.0) for value in known], (0.0, 1.0))

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (min(max(value, low), high) - low) / (high - low), 2)

    looks = [Look(one.label, one.note, one.place % STYLES + 1, SHAPES[one.place % len(SHAPES)]) for one in series]
    losing = [one.label for one in series if any(spot.lost for spot in one.spots)]
    placed = list(zip(_apart(axis, series), looks, strict=True))
    panels = [
        Panel(
            name,
            " ".join(one.words[panel] for one in series),
            [_line(one, look, panel, y) for one, look in placed],
            [_lost(one, look, losing) for one, look in placed if one.label in losing],
        )
        for panel, name in enumerate(PANELS)
    ]
    up = [Place(tick(100 * value), 0.0, y(value), "start") for value in ticks(low, high)]
    return PanelPlot(title, help_text, axis.name, panels, up, axis.labels, 200 + LOST_LINE * len(losing), looks, csv)


def _apart(axis: Axis, series: Sequence[Series]) -> list[Series]:
    """Return the series with ``x`` in percent, side by side where the axis has room, so that intervals are seen."""
    shifts = [axis.spread * ((index + 0.5) / len(series) - 0.5) for index in range(len(series))]
    return [
        one._replace(spots=[spot._replace(x=round(axis.place(spot.x) + shift, 2)) for spot in one.spots])
        for one, shift in zip(series, shifts, strict=True)
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
    """Return the signs of what a series has lost, on a line of its own."""
    y = 200 + LOST_LINE * (losing.index(placed.label) + 0.5)
    signs = [(spot.lost, spot.x) for spot in placed.spots if spot.lost]
    return Lost(look, [Place(sign, x, y, "end" if x > 70 else "start") for sign, x in signs])  # within the page
