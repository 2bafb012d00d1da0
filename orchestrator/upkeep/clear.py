"""Finds what is stale in the folder of a sweep, and deletes it under the sweep's lease, one whole thing at a time."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from orchestrator import objects
from orchestrator.errors import DamagedRunError, InputError
from orchestrator.files import make_folder, sync_folder
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.champion import EVALUATION, up_to_date
from orchestrator.store.ends import ENDS
from orchestrator.store.inventory import Inventory, content, inventory
from orchestrator.store.manifest import read_sealed
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.upkeep.made import made_as
from orchestrator.upkeep.plan import Plan, plan_of
from orchestrator.upkeep.stale import GONE, SOUND, Facts, Stale, ended_twice, stale
from orchestrator.wording import count

Rows = list[dict[str, Any]]


def stale_in(spec: SweepSpec, folder: SweepFolder, sweep_command: str) -> list[Stale]:
    """Return what is stale in the folder of a sweep; changes nothing.

    InputError if the folder is damaged, or if the sweep that was made there last has runs that this recipe lacks, or
    whose keys are not known: then nothing is known to be stale. ``sweep_command`` is the remedy.
    """
    made, files = made_as(folder), inventory(folder.path)
    if made is None:
        if any(name.startswith("runs/") for name in files):
            raise InputError(
                f"{folder.path} has runs and no sweep.json, so nothing says which of them are needed. First: "
                f"{sweep_command}"
            )
        return []
    plan = plan_of(spec, made)
    _refuse_another_recipe(folder, plan, made, sweep_command)
    return stale(files, _facts(spec, folder, plan, files))


def delete(folder: SweepFolder, rows: Sequence[Stale]) -> None:
    """Delete what is stale; the caller holds the lease of the sweep. OSError if the storage refuses.

    Each thing leaves its place in one rename, so a kill at any instant leaves it whole, or out of the way under
    `GONE`, where the next call finds it. In an object store the file that ends a run is deleted first.
    """
    for row in rows:
        _delete(folder, row.name)
    with suppress(OSError):  # not empty, or never made
        (folder.path / GONE).rmdir()


def _delete(folder: SweepFolder, name: str) -> None:
    place = folder.path / name
    if objects.key_of(place):
        for end in ENDS.values():
            objects.remove(place / end)
        objects.remove(place)
    if not (place.exists() or place.is_symlink()):
        return
    if not (objects.key_of(place) or name.startswith(f"{GONE}/")):
        gone = folder.path / GONE / f"{place.name}-{secrets.token_hex(4)}"
        make_folder(gone.parent)
        place.rename(gone)
        sync_folder(place.parent)
        place = gone
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink()


def _refuse_another_recipe(folder: SweepFolder, plan: Plan, made: Mapping[str, Any], sweep_command: str) -> None:
    why = [*plan.unknown, *plan.assumed]
    lacking = set(made["runs"]) - plan.keys.keys()
    if not why and lacking:  # a word of the command line that was forgotten, as seeds=[...], must not cost its runs
        why = [f"this recipe lacks {len(lacking):,} of the {count(len(made['runs']), 'run')} of its sweep"]
    if why:
        raise InputError(
            f"{folder.path} was made by another recipe ({'; '.join(why)}), so nothing in it is known to be stale. Give "
            f"the recipe as it was, or let the sweep take the folder up first: {sweep_command}"
        )


def _facts(spec: SweepSpec, folder: SweepFolder, plan: Plan, files: Inventory) -> Facts:
    rows = _results(folder)
    evaluations = _evaluations(folder, files)
    return Facts(
        planned=frozenset(plan.keys),
        tasks=frozenset(task.name for task in spec.tasks),
        ended_by=_ended_by(folder, files),
        champions={task: str(evaluation.get("run_key")) for task, evaluation in evaluations.items()},
        sound={task for task in evaluations if _is_sound(folder, task, evaluations[task], files)},
        best=_best(folder, rows, evaluations) if spec.champions and rows else {},
        results=None if rows is None else frozenset(str(row.get("run_key")) for row in rows),
        now=time.time(),
    )


def _ended_by(folder: SweepFolder, files: Inventory) -> dict[str, int]:
    """Return the attempt that the end of a run names, where a run has several attempts."""
    numbers = {}
    for key, end in ended_twice(files):
        path = folder.run(key).path / ENDS[end]
        with suppress(DamagedRunError, FileNotFoundError, KeyError, TypeError, ValueError):  # then all attempts stay
            if objects.key_of(path):
                objects.fetch_file(path)
            numbers[key] = int(read_sealed(path)["attempt"])
    return numbers


def _evaluations(folder: SweepFolder, files: Inventory) -> dict[str, dict[str, Any]]:
    """Return the evaluation of each task's champion that can be read."""
    evaluations = {}
    for name in files:
        first, _, rest = name.partition("/")
        task, _, file = rest.partition("/")
        if first == "champions" and file == EVALUATION and "." not in task:
            evaluation = _json(folder.path / name)
            if isinstance(evaluation, dict):
                evaluations[task] = evaluation
    return evaluations


def _is_sound(folder: SweepFolder, task: str, evaluation: Mapping[str, Any], files: Inventory) -> bool:
    """Return whether a champion is sound and whole; looked at only where an older sound champion is kept beside it."""
    kept = any(name.startswith(f"champions/{task}{SOUND}") for name in files)
    return kept and up_to_date(folder.champion(task), str(evaluation.get("run_key"))) is not None


def _results(folder: SweepFolder) -> Rows | None:
    """Return the rows of results.jsonl; None if the file is missing or damaged."""
    try:
        rows = [json.loads(line) for line in content(folder.results).splitlines()]
    except (FileNotFoundError, ValueError):
        return None
    return rows if all(isinstance(row, dict) for row in rows) else None


def _best(folder: SweepFolder, rows: Rows, evaluations: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the run key of each task's best run by the sweep's own results; {} if they do not fit together.

    A task whose champion is sound is left out: that champion is the task's last one, and the one in MLflow's registry,
    until a sweep has merged a better run.
    """
    from orchestrator.search.best_run import choose

    summary = _json(folder.summary)
    try:
        chosen = choose(rows, summary).items()
        return {task: str(row["run_key"]) for task, row in chosen if evaluations.get(task, {}).get("status") != "sound"}
    except (KeyError, TypeError, ValueError, AttributeError):  # a file of another version, or of another moment
        return {}


def _json(file: Path) -> Any:
    try:
        return json.loads(content(file))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
