"""The entries under ``methods``: each list of values spans a grid, every point is a method, and controls are added."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from d2lora import available_methods, get_method
from d2lora.method import LowRankConfig
from d2lora.names import unknown
from orchestrator.errors import InputError
from orchestrator.recipe.controls import REFERENCE, controls_of, with_controls
from orchestrator.recipe.reading.checks import brief, check_word, error_lines
from orchestrator.recipe.reading.interpolation import Key
from orchestrator.recipe.reading.located_yaml import Locations
from orchestrator.recipe.sections import MethodSpec
from orchestrator.recipe.spec import WORDS
from orchestrator.recipe.targets import joined

METHOD_WORDS = ("name", "targets", "label", "controls")  # keys of an entry that are no settings of the method
NOT_IN_LABELS = ("name", "label", "controls")
_EXAMPLE = "Write d2lora, or {name: d2lora, rank: 8}."
MAX_METHODS = 1000  # points of all methods' grids: more are a slip, and would take minutes to refuse


@dataclasses.dataclass(frozen=True)
class Entry:
    """An entry whose name and keys are known: what the recipe says, and where. A value may be a list, a grid axis."""

    given: Mapping[str, Any]
    key: Key

    @property
    def name(self) -> str:
        """The method's name."""
        return str(self.given["name"])


@dataclasses.dataclass(frozen=True)
class Point(Entry):
    """One point of the grid that an entry spans; ``axes`` are the keys whose values differ between its points."""

    axes: Sequence[str]


def resolve_methods(data: Mapping[str, Any], locations: Locations) -> list[MethodSpec]:
    """Return the methods of a recipe with all their settings, and the controls that the recipe asks for.

    InputError with the location of an entry or key that is wrong.
    """
    entries = [_entry(entry, ("methods", index), locations) for index, entry in enumerate(data["methods"])]
    size = sum(math.prod(len(value) for value in entry.given.values() if isinstance(value, list)) for entry in entries)
    if size > MAX_METHODS:
        raise InputError(
            f"{locations.at(('methods',))}: the grids have {size} points (limit {MAX_METHODS}). List fewer values."
        )
    points = [point for entry in entries for point in _grid(entry)]
    targets = joined(data.get("model", {}).get("targets", "attention"))
    methods = [_method(point, label, targets, locations) for point, label in zip(points, _labels(points), strict=True)]
    _check_labels(methods, locations)
    return _with_controls(data, points, methods, locations)


def _entry(entry: Any, key: Key, locations: Locations) -> Entry:
    """Return a method entry with its name and every key checked."""
    method, location = {"name": entry} if isinstance(entry, str) else entry, locations.at(key)
    if not isinstance(method, dict) or not isinstance(method.get("name"), str):
        raise InputError(f"{location}: a method is a name or a mapping with a name, not {brief(entry)}. {_EXAMPLE}")
    if method["name"] not in available_methods():
        raise InputError(f"{location}: {unknown('method', method['name'], available_methods())}")
    fields = {field.name for field in dataclasses.fields(get_method(method["name"]).Config)}
    for name, value in method.items():
        where = locations.at((*key, name))
        if name not in fields and name not in METHOD_WORDS:
            raise InputError(f"{where}: {unknown('setting', name, fields | {*METHOD_WORDS})}")
        if value == []:
            raise InputError(f"{where}: {name} is an empty list. Give it a value, or leave it out.")
        words = value if name == "targets" and isinstance(value, list) else [value]
        if name in METHOD_WORDS and not all(isinstance(word, str) for word in words):
            raise InputError(
                f"{where}: the {name} of method {method['name']} is a word, not {brief(value)}. Write a word."
            )
    if "controls" in method:
        check_word(method["controls"], (*key, "controls"), WORDS["controls"], locations)
        if method["name"] != REFERENCE and method["controls"] != "none":
            raise InputError(
                f"{locations.at((*key, 'controls'))}: only {REFERENCE} has controls, not {method['name']}. "
                "Leave the key out."
            )
    return Entry(method, key)


def _grid(entry: Entry) -> list[Point]:
    """Return one point per combination of the values that the entry lists."""
    values = {key: value if isinstance(value, list) else [value] for key, value in entry.given.items()}
    axes = [key for key, listed in values.items() if len(listed) > 1]
    combinations = itertools.product(*values.values())
    return [Point(dict(zip(values, combination, strict=True)), entry.key, axes) for combination in combinations]


def _labels(points: Sequence[Point]) -> list[str]:
    """Return a label per point: the recipe's own, or the method's name with the settings in which points differ."""
    names = [point.name for point in points]
    labels = []
    for point in points:
        if (label := point.given.get("label")) is not None:
            labels.append(label + "".join(f",{key}={point.given[key]}" for key in point.axes))
            continue
        shown: Sequence[str] = []
        if names.count(point.name) > 1:
            shown = point.axes or [key for key in point.given if key not in NOT_IN_LABELS]
        inside = ",".join(f"{key}={point.given[key]}" for key in shown)
        labels.append(point.name + (f"({inside})" if inside else ""))
    return labels


def _check_labels(methods: Sequence[MethodSpec], locations: Locations) -> None:
    labels = [method.label for method in methods]
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated:
        raise InputError(
            f"{locations.at(('methods',))}: two entries are called {repeated[0]!r}: give one a label, for example "
            f"{{name: {repeated[0].partition('(')[0]}, label: control}}."
        )


def _with_controls(
    data: Mapping[str, Any], points: Sequence[Point], methods: list[MethodSpec], locations: Locations
) -> list[MethodSpec]:
    """Return the methods and their controls, as ``controls`` of the recipe or of a single entry says."""
    of_all, where = data.get("controls", "none"), locations.at(("controls",))
    if of_all == "matched" and not any(point.name == REFERENCE for point in points):
        raise InputError(
            f"{where}: controls: matched adds nothing, for no method is {REFERENCE}: name one, or take controls: none."
        )
    pairs = []
    for point, method in zip(points, methods, strict=True):
        if point.given.get("controls", of_all if point.name == REFERENCE else "none") == "matched":
            try:
                pairs += [(method, control) for control in controls_of(method)]
            except ValueError as error:
                raise InputError(f"{locations.at(point.key)}: {error}") from None
    if not pairs:
        return methods
    whole = with_controls(methods, pairs)
    _check_labels(whole, locations)
    return whole


def _method(point: Point, label: str, targets: str, locations: Locations) -> MethodSpec:
    """Return the method of a point; ``targets`` are the recipe's, which an entry may replace by its own."""
    own = str(point.given.get("targets", targets))
    return MethodSpec.of(point.name, _config(point, locations), label=label, targets=own)


def _config(point: Point, locations: Locations) -> LowRankConfig:
    """Return the library's Config of a point, defaults filled in; InputError with the location of a bad setting."""
    given = {key: value for key, value in point.given.items() if key not in METHOD_WORDS}
    for key, value in given.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(
                f"{locations.at((*point.key, key))}: method {point.name} {key} is {value}. Give a finite one."
            )
    try:
        return TypeAdapter(get_method(point.name).Config).validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        raise InputError("\n".join(error_lines(error, locations, point.key, f"method {point.name}"))) from None
