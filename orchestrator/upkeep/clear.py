"""Finds what is stale in the folder of a sweep, and deletes it under the sweep's lease, one whole thing at a time."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

from orchestrator import objects
from orchestrator.errors import DamagedRunError, InputError
from orchestrator.files import make_folder, sync_folder
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.champion import BEFORE, EVALUATION, up_to_date
from orchestrator.store.ends import ENDS
from orchestrator.store.inventory import Inventory, content, inventory
from orchestrator.store.manifest import read_sealed
from orchestrator.store.nights_folder import NIGHTS, NightsFolder
from orchestrator.store.rolled_back import SUFFIX as ROLLED_BACK
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.upkeep.made import made_as
from orchestrator.upkeep.night_facts import have_begun, night_facts, renewals
from orchestrator.upkeep.plan import Plan, plan_of
from orchestrator.upkeep.stale import GONE, SOUND, Facts, Stale, ended_twice, stale
from orchestrator.upkeep.stale_nights import NightFacts
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
    facts = _facts(spec, folder, made, files)
    _refuse_another_recipe(
        folder, plan_of(spec, made), frozenset(facts.planned) | _keys_then(spec, made), made, sweep_command
    )
    return stale(files, facts)


def delete(folder: SweepFolder, rows: Sequence[Stale]) -> None:
    """Delete what is stale; the caller holds the lease of the sweep. OSError if the storage refuses.

    Each thing leaves its place in one rename, so a kill at any instant leaves it whole, or out of the way under
    `GONE`, where the next call finds it. In an object store the files that end runs are deleted first.
    """
    for row in rows:
        _delete(folder, row.name)
    with suppress(OSError):  # not empty, or never made
        (folder.path / GONE).rmdir()


def _delete(folder: SweepFolder, name: str) -> None:
    place = folder.path / name
    if objects.key_of(place):
        ends = [below for below in objects.sizes(place) if below.rpartition("/")[2] in ENDS.values()]
        for end in ends:
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


def _keys_then(spec: SweepSpec, made: Mapping[str, Any]) -> frozenset[str]:
    """Return the run keys of this recipe with the nights that its runs were of when sweep.json was written."""
    then = made["recipe"].get("renewed", {})
    renewed = {method.label: then[method.label] for method in spec.methods if method.label in then}
    return frozenset(plan_of(spec.model_copy(update={"renewed": renewed}), made).keys)


def _refuse_another_recipe(
    folder: SweepFolder, plan: Plan, known: Collection[str], made: Mapping[str, Any], sweep_command: str
) -> None:
    why = [*plan.unknown, *plan.assumed]
    lacking = set(made["runs"]) - set(known)
    if not why and lacking:  # a word of the command line that was forgotten, as seeds=[...], must not cost its runs
        why = [f"this recipe lacks {len(lacking):,} of the {count(len(made['runs']), 'run')} of its sweep"]
    if why:
        raise InputError(
            f"{folder.path} was made by another recipe ({'; '.join(why)}), so nothing in it is known to be stale. Give "
            f"the recipe as it was, or let the sweep take the folder up first: {sweep_command}"
        )


def _facts(spec: SweepSpec, folder: SweepFolder, made: Mapping[str, Any], files: Inventory) -> Facts:
    rows, now = _results(folder), time.time()
    evaluations = _evaluations(folder, files)
    nights, needed = _nights(spec, folder, made, files, date.fromtimestamp(now))
    return Facts(
        planned=needed,
        tasks=frozenset(task.name for task in spec.tasks),
        ended_by=_ended_by(folder, files),
        champions={task: str(evaluation.get("run_key")) for task, evaluation in evaluations.items()},
        sound={task for task in evaluations if _is_sound(folder, task, evaluations[task], files)},
        best={} if nights or _has_gate(files) else _best(folder, rows, evaluations) if spec.champions and rows else {},
        results=None if rows is None else frozenset(str(row.get("run_key")) for row in rows),
        now=now,
        nights=nights,
    )


def _nights(
    spec: SweepSpec, folder: SweepFolder, made: Mapping[str, Any], files: Inventory, today: date
) -> tuple[NightFacts | None, frozenset[str]]:
    """Return the facts of the nights, None without a night, and the keys of the runs that are needed.

    With nights these are also the runs of the frontiers to which a night may go back, and the runs of the champions
    that stand or can be gone back to: the gate compares with their predictions.
    """
    planned = frozenset(plan_of(spec, made).keys)
    if not have_begun(files):
        return None, planned
    nights = NightsFolder(folder.path / NIGHTS)
    facts = night_facts(spec, nights, files, today)
    frontiers = renewals(spec, nights, files, facts)
    copies = [spec.model_copy(update={"renewed": dict(renewed)}) for renewed in frontiers]
    of_frontiers = [plan_of(copy, made).keys for copy in copies]
    return facts, planned.union(_runs_of_champions(folder, files), *of_frontiers)


def _has_gate(files: Inventory) -> bool:
    """Return whether a gate has decided which champion stands, by what it leaves beside a champion.

    Then the best run of the results may be one that the gate has refused, or that somebody has rolled back.
    """
    names = [name for name in files if name.startswith("champions/")]
    return any(BEFORE in name or name.endswith(ROLLED_BACK) for name in names)


def _runs_of_champions(folder: SweepFolder, files: Inventory) -> set[str]:
    """Return the run of every champion, the replaced champions among them, whose evaluation can be read."""
    names = [name for name in files if name.startswith("champions/") and name.endswith(f"/{EVALUATION}")]
    evaluations = [_json(folder.path / name) for name in names]
    return {str(one.get("run_key")) for one in evaluations if isinstance(one, dict)}


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
