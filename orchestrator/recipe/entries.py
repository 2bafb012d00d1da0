"""The entries of tasks and methods in a recipe: short forms become whole ones, lists of values become a grid."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from d2lora import available_methods, get_method
from d2lora.names import unknown
from orchestrator.data.tasks import available_tasks
from orchestrator.errors import InputError
from orchestrator.recipe.checks import _check_level, _check_word, _lines
from orchestrator.recipe.controls import REFERENCE, controls_of, with_controls
from orchestrator.recipe.interpolation import Key
from orchestrator.recipe.located_yaml import Places
from orchestrator.recipe.sections import MethodSpec, TaskSpec
from orchestrator.recipe.seeds import SeedAxes
from orchestrator.recipe.targets import joined

METHOD_WORDS = ("name", "targets", "label", "controls")
UNTOLD = ("name", "label", "controls")  # words that a label need not tell
MAX_METHODS = 1000  # points of all methods' grids: beyond is a slip, and would take minutes to refuse


def _resolve(data: dict[str, Any], places: Places) -> None:
    """Turn the short forms of tasks and methods into whole ones."""
    for name in ("tasks", "methods", "seeds"):
        if name == "seeds" and isinstance(data.get(name), dict) and data[name]:
            _check_level(data[name], SeedAxes, (name,), places)
        elif not isinstance(data.get(name), list) or not data[name]:
            found = f"is {data[name]!r}" if name in data else "is missing"
            raise InputError(f"{places.at((name,))}: {name} {found}; it is a list, for example {_EXAMPLES[name]}.")
    data["tasks"] = [_task(entry, ("tasks", index), places) for index, entry in enumerate(data["tasks"])]
    entries = [_method(entry, ("methods", index), places) for index, entry in enumerate(data["methods"])]
    points = sum(math.prod(len(value) for value in entry.values() if isinstance(value, list)) for entry in entries)
    if points > MAX_METHODS:
        raise InputError(f"{places.at(('methods',))}: the grids have {points} points (limit {MAX_METHODS}).")
    expanded = [one for entry in entries for one in _grid(entry)]
    targets = joined(data.get("model", {}).get("targets", "attention"))
    named = _labelled(expanded, targets, places)
    data["methods"] = _controlled(data, expanded, named, places)


_EXAMPLES = {
    "tasks": "[arc_easy, boolq]",
    "methods": "[d2lora, lora]",
    "seeds": "[0, 1, 2], or keys: {init: [0, 1, 2], data: [0, 1, 2]}",
}


def _task(entry: Any, key: Key, places: Places) -> dict[str, Any]:
    task, place = {"name": entry} if isinstance(entry, str) else entry, places.at(key)
    if not isinstance(task, dict) or not isinstance(task.get("name"), str):
        raise InputError(f"{place}: a task is a name or a mapping with a name, not {entry!r}.")
    _check_level(task, TaskSpec, key, places)
    if task.get("path") is None and task["name"] not in available_tasks():
        raise InputError(
            f"{place}: {unknown('task', task['name'], available_tasks())} Your own: {{name: mine, path: mine.jsonl}}."
        )
    return task


def _method(entry: Any, key: Key, places: Places) -> dict[str, Any]:
    """Return a method entry with its name and every key checked; values may still be grid axes."""
    method, place = {"name": entry} if isinstance(entry, str) else entry, places.at(key)
    if not isinstance(method, dict) or not isinstance(method.get("name"), str):
        raise InputError(f"{place}: a method is a name or a mapping with a name, not {entry!r}.")
    if method["name"] not in available_methods():
        raise InputError(f"{place}: {unknown('method', method['name'], available_methods())}")
    fields = {field.name for field in dataclasses.fields(get_method(method["name"]).Config)}
    for name, value in method.items():
        where = places.at((*key, name))
        if name not in fields and name not in METHOD_WORDS:
            raise InputError(f"{where}: {unknown('setting', name, fields | {*METHOD_WORDS})}")
        if value == []:
            raise InputError(f"{where}: {name} is an empty list.")
        words = value if name == "targets" and isinstance(value, list) else [value]
        if name in METHOD_WORDS and not all(isinstance(word, str) for word in words):
            raise InputError(f"{where}: the {name} of method {method['name']} is a word, not {value!r}.")
    if "controls" in method:
        _check_word(method["controls"], (*key, "controls"), places)
        if method["name"] != REFERENCE and method["controls"] != "none":
            raise InputError(f"{places.at((*key, 'controls'))}: only {REFERENCE} has controls, not {method['name']}.")
    return {**method, "__key__": key}


def _grid(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one entry a point of the grid that the entry's list values span."""
    axes = {key: value if isinstance(value, list) else [value] for key, value in entry.items()}
    axis_names = [key for key, values in axes.items() if len(values) > 1]
    points = [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]
    return [{**point, "__axes__": axis_names} for point in points]


def _labelled(entries: list[dict[str, Any]], targets: str, places: Places) -> list[dict[str, Any]]:
    """Return MethodSpec data: settings resolved against the method's defaults, labels that tell entries apart."""
    methods = [_resolved(entry, targets, places) for entry in entries]
    names = [entry["name"] for entry in entries]
    for method, entry in zip(methods, entries, strict=True):
        given = entry.get("label")
        if given is None:
            differs = entry["__axes__"] if names.count(entry["name"]) > 1 else []
            if names.count(entry["name"]) > 1 and not differs:
                differs = [key for key in entry if not key.startswith("__") and key not in UNTOLD]
            inside = ",".join(f"{key}={entry[key]}" for key in differs)
            method["label"] = entry["name"] + (f"({inside})" if inside else "")
        else:
            method["label"] = given + "".join(f",{key}={entry[key]}" for key in entry["__axes__"])
    _check_labels(methods, places)
    return methods


def _check_labels(methods: Sequence[Mapping[str, Any]], places: Places) -> None:
    labels = [method["label"] for method in methods]
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated:
        raise InputError(
            f"{places.at(('methods',))}: two entries are called {repeated[0]!r}: give one a label, for example "
            f"{{name: {repeated[0].partition('(')[0]}, label: control}}."
        )


def _controlled(
    data: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], named: list[dict[str, Any]], places: Places
) -> list[dict[str, Any]]:
    """Return the methods with the controls that the recipe, or an entry for itself, asks for."""
    of_all, where = data.get("controls", "none"), places.at(("controls",))
    if of_all == "matched" and not any(entry["name"] == REFERENCE for entry in entries):
        raise InputError(
            f"{where}: controls: matched adds nothing, for no method is {REFERENCE}: name one, or take controls: none."
        )
    pairs = []
    for entry, one in zip(entries, named, strict=True):
        if entry.get("controls", of_all if entry["name"] == REFERENCE else "none") == "matched":
            method = MethodSpec(**one)
            try:
                pairs += [(method, control) for control in controls_of(method)]
            except ValueError as error:
                raise InputError(f"{places.at(entry['__key__'])}: {error}") from None
    if not pairs:
        return named
    found = [method.model_dump() for method in with_controls([MethodSpec(**one) for one in named], pairs)]
    _check_labels(found, places)
    return found


def _resolved(entry: dict[str, Any], targets: str, places: Places) -> dict[str, Any]:
    """Return the method's full settings, checked by the method's own config."""
    config = get_method(entry["name"]).Config
    given = {key: value for key, value in entry.items() if key not in METHOD_WORDS and not key.startswith("__")}
    for key, value in given.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{places.at((*entry['__key__'], key))}: method {entry['name']} {key} is {value}.")
    try:
        checked = TypeAdapter(config).validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        raise InputError("\n".join(_lines(error, places, entry["__key__"], f"method {entry['name']}"))) from None
    return {
        "name": entry["name"],
        "settings": dataclasses.asdict(checked),
        "targets": str(entry.get("targets", targets)),
    }
