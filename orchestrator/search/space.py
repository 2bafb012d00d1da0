"""Pure: the settings of a recipe as points on axes: ordered where all values are numbers, each method with its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.recipe.sections import MethodSpec

METHOD, RATE = "method", "rate"


@dataclass(frozen=True)
class Axis:
    """What varies, by how many values; a point's place on it is an index, and on an ordered axis near is alike."""

    name: str
    size: int
    ordered: bool


Point = tuple[tuple[str, int], ...]
"""By axis, the place on it: the method and the rate where they vary, then what varies within the method."""


@dataclass(frozen=True)
class Space:
    """The axes that all settings have, those of each method by its place on the axis of methods, and every point.

    A recipe need not span all that its axes do (two entries of one method, controls), so only ``points`` can be tried.
    """

    shared: tuple[Axis, ...]
    own: tuple[tuple[Axis, ...], ...]
    points: tuple[Point, ...]

    def axes(self, method: int) -> tuple[Axis, ...]:
        """Return the axes of a point of this method."""
        return self.shared + self.own[method]


def space_of(settings: Sequence[tuple[MethodSpec, float]]) -> Space:
    """Return the space of these settings, each a method at a learning rate; its points are in their order."""
    names = list(dict.fromkeys(method.name for method, _ in settings))
    rates = _Values(RATE, [rate for _, rate in settings])
    shared = tuple(axis for axis in (Axis(METHOD, len(names), False), rates.axis) if axis.size > 1)
    own = [_own([method for method, _ in settings if method.name == name]) for name in names]
    points: list[Point] = []
    for method, rate in settings:
        number = names.index(method.name)
        places = {METHOD: number, RATE: rates.place(rate)}
        inner = tuple((name, values.place(_told(method)[name])) for name, values in own[number].items())
        points.append(tuple((axis.name, places[axis.name]) for axis in shared) + _prefixed(method.name, inner))
    axes = tuple(
        tuple(Axis(f"{name}.{one.axis.name}", one.axis.size, one.axis.ordered) for one in each.values())
        for name, each in zip(names, own, strict=True)
    )
    return Space(shared, axes, tuple(points))


def nearest(space: Space, wanted: Point, left: Collection[int]) -> int:
    """Return which of the points ``left`` (by number) is nearest to ``wanted``; the first of equals.

    An ordered axis counts the share of its length, another one 1 where the values differ, and another method more than
    all axes together.
    """
    place = dict(wanted)
    method = place.get(METHOD, 0)
    axes = {axis.name: axis for axis in space.axes(method)}

    def distance(number: int) -> float:
        point = dict(space.points[number])
        if point.get(METHOD, 0) != method:
            return 1.0 + len(axes)
        return sum(_apart(axes[name], at, point[name]) for name, at in place.items())

    return min(sorted(left), key=distance)


def _apart(axis: Axis, first: int, second: int) -> float:
    return abs(first - second) / (axis.size - 1) if axis.ordered else float(first != second)


class _Values:
    """The distinct values of what varies: sorted where all are numbers, else in the order of the recipe."""

    def __init__(self, name: str, values: Sequence[Any]) -> None:
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        self._places: dict[Any, int] = {}
        for value in sorted(values) if numbers else values:
            self._places.setdefault(_hashable(value), len(self._places))
        self.axis = Axis(name, len(self._places), numbers)

    def place(self, value: Any) -> int:
        """Return the value's index."""
        return self._places[_hashable(value)]


def _own(methods: Sequence[MethodSpec]) -> dict[str, _Values]:
    """Return what varies among methods of one name, by setting."""
    told = [_told(method) for method in methods]
    found = {name: _Values(name, [one[name] for one in told]) for name in told[0]}
    return {name: values for name, values in found.items() if values.axis.size > 1}


def _told(method: MethodSpec) -> Mapping[str, Any]:
    return {**method.settings, "targets": method.targets}


def _prefixed(method: str, point: Point) -> Point:
    return tuple((f"{method}.{name}", place) for name, place in point)


def _hashable(value: Any) -> Any:
    """Return a stand-in that tells values apart: True is not 1, and a list is not hashable; 1 and 1.0 are one value."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else repr(value)
