"""The lists of a recipe: short forms of tasks and methods become whole ones."""

from __future__ import annotations

from typing import Any

from d2lora.names import unknown
from orchestrator.data.tasks import available_tasks
from orchestrator.errors import InputError
from orchestrator.recipe.reading.checks import brief, check_keys
from orchestrator.recipe.reading.interpolation import Key
from orchestrator.recipe.reading.located_yaml import Locations
from orchestrator.recipe.reading.method_entries import resolve_methods
from orchestrator.recipe.sections import TaskSpec
from orchestrator.recipe.seeds import SeedAxes

EXAMPLES = {
    "tasks": "[arc_easy, boolq]",
    "methods": "[d2lora, lora]",
    "seeds": "[0, 1, 2], or keys: {init: [0, 1, 2], data: [0, 1, 2]}",
}

_EXAMPLE = "Write arc_easy, or {name: mine, path: mine.jsonl}."


def resolve_entries(data: dict[str, Any], locations: Locations) -> None:
    """Replace the short forms in ``data["tasks"]`` and ``data["methods"]`` by whole ones, controls included.

    InputError with the location of an entry that is wrong, or of a list that is missing.
    """
    for name, example in EXAMPLES.items():
        if name == "seeds" and isinstance(data.get(name), dict) and data[name]:
            check_keys(data[name], SeedAxes.model_fields, (name,), locations)
        elif not isinstance(data.get(name), list) or not data[name]:
            fault = f"is {brief(data[name])}" if name in data else "is missing"
            raise InputError(f"{locations.at((name,))}: {name} {fault}; it is a list, for example {example}.")
    data["tasks"] = [_task(entry, ("tasks", index), locations) for index, entry in enumerate(data["tasks"])]
    data["methods"] = [method.model_dump() for method in resolve_methods(data, locations)]


def _task(entry: Any, key: Key, locations: Locations) -> dict[str, Any]:
    task, location = {"name": entry} if isinstance(entry, str) else entry, locations.at(key)
    if not isinstance(task, dict) or not isinstance(task.get("name"), str):
        raise InputError(f"{location}: a task is a name or a mapping with a name, not {brief(entry)}. {_EXAMPLE}")
    check_keys(task, TaskSpec.model_fields, key, locations)
    if task.get("path") is None and task["name"] not in available_tasks():
        raise InputError(
            f"{location}: {unknown('task', task['name'], available_tasks())} "
            "Your own: {name: mine, path: mine.jsonl}."
        )
    return task
