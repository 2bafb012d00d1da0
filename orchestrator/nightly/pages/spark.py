"""The geometry of a spark line: values over nights in a panel of 100 x 100, with the marks of single nights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from orchestrator.nightly.pages.series import Point, Series
from orchestrator.report.figures.axis import Tick, tick_label, ticks
from orchestrator.wording import count

LEFT, WIDE = 14.0, 84.0
"""Where the first night stands, and the distance to the last, in percent of the width; labels stand left of it."""
TOP, TALL = 8.0, 84.0
"""Where the highest value stands, and the distance to the lowest, in percent of the height."""
BOTTOM = 96.0
"""Where the signs of broken nights stand, in percent of the height."""


class Mark(NamedTuple):
    """A marked night: ``x`` in percent of the width, and what to say of the night."""

    x: float
    night: str
    words: str


class Spark(NamedTuple):
    """A spark line, and its content in words. A line ends at a night without a value and where the ruler moved.

    ``dots`` are values between two such ends, which no line shows. ``band`` is top and height of tonight's baseline
    interval. ``last`` is the position of the last value. ``up`` has the ticks of the values, ``across`` the first and
    the last night.
    """

    title: str
    words: str
    lines: list[str]
    dots: list[tuple[float, float]]
    band: tuple[float, float] | None
    last: tuple[float, float] | None
    broken: list[Mark]
    changes: list[Mark]
    moved: list[Mark]
    up: list[Tick]
    across: list[Tick]


class Scale(NamedTuple):
    """How values are shown: the factor that makes the axis of them, its least width, and a value in words."""

    factor: float
    least: float
    say: Callable[[float | None], str]


def draw_spark(title: str, series: Series, scale: Scale, band: Sequence[float] | None = None) -> Spark | None:
    """Return the spark line of a series; None if no night that counts has a value."""
    if not series.known:
        return None
    low, high = _ends([scale.factor * value for value in [*series.known, *(band or ())]], scale.least)
    nights = [point.night for point in series.points]
    broken = [point.night for point in series.points if point.broken]
    place = {night: _across(index, len(nights)) for index, night in enumerate(nights)}

    def y(value: float) -> float:
        return round(TOP + TALL * (high - scale.factor * value) / (high - low), 2)

    pieces = [[(place[point.night], y(point.value or 0.0)) for point in piece] for piece in _pieces(series)]
    return Spark(
        title,
        _words(series, scale),
        [" ".join(f"{x},{height}" for x, height in piece) for piece in pieces if len(piece) > 1],
        [piece[0] for piece in pieces if len(piece) == 1],
        (y(band[1]), round(y(band[0]) - y(band[1]), 2)) if band else None,
        pieces[-1][-1],
        [Mark(place[one], one, f"{one}: broken, in no baseline") for one in broken],
        [Mark(place[one], one, f"{one}: the level changed") for one in nights if one in series.changes],
        [Mark(place[one], one, f"{one}: the ruler moved") for one in nights if one in series.moved],
        [Tick(tick_label(value), 0.0, y(value / scale.factor), "start") for value in _few(ticks(low, high))],
        _dates(nights),
    )


def _across(index: int, nights: int) -> float:
    return round(LEFT + WIDE * index / (nights - 1), 2) if nights > 1 else LEFT + WIDE / 2


def _few(values: Sequence[float]) -> Sequence[float]:
    """Return at most three of the ticks, because more do not stand in a low panel."""
    return values[:: -(-len(values) // 3)]


def _ends(values: Sequence[float], least: float) -> tuple[float, float]:
    """Return the ends of an axis that holds the values and is no narrower than ``least``."""
    low, high = min(values), max(values)
    slack = max(0.0, least - (high - low)) / 2
    return max(0.0, low - slack) if low >= 0 else low - slack, high + slack


def _pieces(series: Series) -> list[list[Point]]:
    """Return the runs of nights that one line joins."""
    pieces: list[list[Point]] = [[]]
    for point in series.points:
        if point.value is None or point.broken or point.night in series.moved:
            pieces.append([])
        if point.value is not None and not point.broken:
            pieces[-1].append(point)
    return [piece for piece in pieces if piece]


def _dates(nights: Sequence[str]) -> list[Tick]:
    """Return the labels of the first and the last night."""
    if len(nights) == 1:
        return [Tick(nights[0], LEFT + WIDE / 2, 0.0, "middle")]
    return [Tick(nights[0], LEFT, 0.0, "start"), Tick(nights[-1], LEFT + WIDE, 0.0, "end")]


def _words(series: Series, scale: Scale) -> str:
    """Return the panel in words: nights, last value, range, and how many nights are marked."""
    known = series.known
    said = [f"{count(len(series.points), 'night')}, the last value {scale.say(known[-1])}"]
    said.append(f"from {scale.say(min(known))} to {scale.say(max(known))}")
    within = {point.night for point in series.points}
    marks = (
        (sum(point.broken for point in series.points), "broken"),
        (len(series.changes & within), "with a change of level"),
        (len(series.moved & within), "on which the ruler moved"),
    )
    said += [f"{count(amount, 'night')} {what}" for amount, what in marks if amount]
    return ", ".join(said) + "."
