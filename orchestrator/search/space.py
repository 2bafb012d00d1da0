"""Pure: the settings of a recipe as points on axes. An axis is ordered where all its values are numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.recipe.sections import MethodSpec

METHOD, RATE = "method", "rate"


@dataclass(frozen=True)
class Axis:
    """What varies among settings, with ``size`` values; on an ordered axis, points with near indices are alike."""

    name: str
    size: int
    ordered: bool


Point = tuple[tuple[str, int], ...]
"""The index on each axis, by name: the axes of methods and rates if there are such, then the axes of the method."""


@dataclass(frozen=True)
class Space:
    """The axes of a recipe's settings, and its settings as points.

    ``shared`` are the axes that all settings have; ``own[i]`` are the axes of method i. A recipe may have fewer points
    than its axes span (because of two entries of one method, or controls), so only ``points`` can be tried.
    """

    shared: tuple[Axis, ...]
    own: tuple[tuple[Axis, ...], ...]
    points: tuple[Point, ...]

    def axes(self, method: int) -> tuple[Axis, ...]:
        """Return the axes of a point of this method."""
        return self.shared + self.own[method]


def space_of(settings: Sequence[tuple[MethodSpec, float]]) -> Space:
    """Return the space of these settings, each a method at a learning rate; points are in the order of settings."""
    names = list(dict.fromkeys(method.name for method, _ in settings))
    rates = _Values(RATE, [rate for _, rate in settings])
    shared = tuple(axis for axis in (Axis(METHOD, len(names), False), rates.axis) if axis.size > 1)
    own = [_own([method for method, _ in settings if method.name == name]) for name in names]
    points: list[Point] = []
    for method, rate in settings:
        number = names.index(method.name)
        indices = {METHOD: number, RATE: rates.index(rate)}
        inner = tuple((name, values.index(_values_of(method)[name])) for name, values in own[number].items())
        points.append(tuple((axis.name, indices[axis.name]) for axis in shared) + _prefixed(method.name, inner))
    axes = tuple(
        tuple(Axis(f"{name}.{setting}", values.axis.size, values.axis.ordered) for setting, values in each.items())
        for name, each in zip(names, own, strict=True)
    )
    return Space(shared, axes, tuple(points))


def nearest(space: Space, wanted: Point, left: Collection[int]) -> int:
    """Return which of the points ``left`` (by number) is nearest to ``wanted``; the first of equals.

    Distances on the axes are added. On an ordered axis the distance is the difference of the indices as a share of the
    axis; on another axis it is 1 where the values differ. A point of another method is farther than any of this method.
    """
    indices = dict(wanted)
    method = indices.get(METHOD, 0)
    axes = {axis.name: axis for axis in space.axes(method)}

    def distance(number: int) -> float:
        point = dict(space.points[number])
        if point.get(METHOD, 0) != method:
            return 1.0 + len(axes)
        return sum(_apart(axes[name], at, point[name]) for name, at in indices.items())

    return min(sorted(left), key=distance)


def _apart(axis: Axis, first: int, second: int) -> float:
    return abs(first - second) / (axis.size - 1) if axis.ordered else float(first != second)


class _Values:
    """The distinct values on one axis: sorted where all are numbers, else in the order of the recipe."""

    def __init__(self, name: str, values: Sequence[Any]) -> None:
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        self._indices: dict[Any, int] = {}
        for value in sorted(values) if numbers else values:
            self._indices.setdefault(_hashable(value), len(self._indices))
        self.axis = Axis(name, len(self._indices), numbers)

    def index(self, value: Any) -> int:
        """Return the index of the value on the axis."""
        return self._indices[_hashable(value)]


def _own(methods: Sequence[MethodSpec]) -> dict[str, _Values]:
    """Return the values of each setting that varies among methods of one name."""
    each = [_values_of(method) for method in methods]
    by_name = {name: _Values(name, [values[name] for values in each]) for name in each[0]}
    return {name: values for name, values in by_name.items() if values.axis.size > 1}


def _values_of(method: MethodSpec) -> Mapping[str, Any]:
    """Return the values of a method that a recipe may list: its settings and its targets."""
    return {**method.settings, "targets": method.targets}


def _prefixed(method: str, point: Point) -> Point:
    return tuple((f"{method}.{name}", index) for name, index in point)


def _hashable(value: Any) -> Any:
    """Return a stand-in for a value, because a list is no key of a dict; 1 and 1.0 are equal, True and 1 are not."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else repr(value)
