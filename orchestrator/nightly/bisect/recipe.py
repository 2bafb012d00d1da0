"""Pure: the recipe of one cell, in keys that older versions of this project know too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from orchestrator.errors import InputError
from orchestrator.nightly.canary import canary_of
from orchestrator.paths import readable
from orchestrator.recipe.sections import MethodSpec, TaskSpec
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.nights_folder import NightFolder
from orchestrator.verdict.night import Cell


def cell_recipe(spec: SweepSpec, cell: Cell, settings: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return the recipe of a cell: one task, one method, the seeds of the canary, in one process without a tracker.

    What has its default is left out, so that a candidate that has changed a default is seen, and a candidate that does
    not know a key yet can be tried. Paths are absolute, because each candidate works in a folder of its own. With
    ``settings`` there is a method for each of them, labelled ``s0``, ``s1``, ..., and all train in one pack.

    InputError where ranks are still to be chosen, or where seeds are pairs.
    """
    if spec.budget == "parameters":
        raise InputError("budget=parameters chooses ranks from all methods: give the method of the cell its rank.")
    task = next(task for task in spec.tasks if task.name == cell[0])
    method = next(method for method in spec.methods if method.label == cell[1])
    seeds = fixed_seeds(spec)
    entries = [_entry(method, {**_own(method), **one}, f"s{number}") for number, one in enumerate(settings)]
    lanes = len(entries) * len(seeds) if entries else 1
    model = spec.model.model_dump(mode="json", exclude_defaults=True) | {"dtype": spec.dtype}
    data = spec.data.model_dump(mode="json", exclude_defaults=True)
    cluster: dict[str, Any] = {"kind": "local", "pack": lanes}
    if spec.cluster.gpus_per_worker:
        cluster["gpus_per_worker"] = spec.cluster.gpus_per_worker
    return {
        "name": "cell",
        "model": _absolute(model, "path"),
        "tasks": [_task(task)],
        "methods": entries or [_entry(method, _own(method), method.label)],
        "seeds": seeds,
        "data": _absolute(data, "mirror"),
        "optim": spec.optim.model_dump(mode="json", exclude_defaults=True) | {"lr": spec.optim.rates[0]},
        "engine": spec.engine.model_dump(mode="json", exclude_defaults=True),
        "cluster": cluster,
        "tracking": {"uri": "none"},
        "champions": False,
    }


def fixed_seeds(spec: SweepSpec) -> list[int]:
    """Return the seeds that the canary trains on every night; InputError for seeds that are pairs of two axes."""
    seeds = canary_of(spec, NightFolder(Path("nights/bisect"))).seeds
    return seeds if isinstance(seeds, list) else []


def _entry(method: MethodSpec, settings: Mapping[str, Any], label: str) -> dict[str, Any]:
    return {"name": method.name, **settings, "targets": method.targets, "label": label}


def _own(method: MethodSpec) -> dict[str, Any]:
    """Return the settings of a method that are not the library's defaults."""
    defaults = {field.name: field.default for field in fields(method.config)}
    return {name: value for name, value in method.settings.items() if value != defaults.get(name)}


def _task(task: TaskSpec) -> dict[str, Any]:
    files = ("path", "test") if task.path else ()  # without a path, ``test`` names a split
    return _absolute(task.model_dump(mode="json", exclude_defaults=True), *files)


def _absolute(section: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Return a section of a recipe with absolute paths at these keys."""
    return section | {key: str(readable(section[key])) for key in keys if isinstance(section.get(key), str)}
