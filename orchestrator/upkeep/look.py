"""Looks into the folder of a sweep and says how far the sweep is; writes nothing there."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator import objects
from orchestrator.addresses import without_secrets
from orchestrator.errors import InputError
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.ends import attempt_folder
from orchestrator.store.inventory import Inventory, content, inventory, last_line
from orchestrator.store.lease import driver_of
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.upkeep.made import made_as
from orchestrator.upkeep.plan import Plan, plan_of
from orchestrator.upkeep.status import STATES, Standing, cells, skipped, standings, strangers
from orchestrator.wording import count

PATIENCE_SECONDS = 30.0  # a store that is away is told soon: a look waits for nobody


@dataclass(frozen=True)
class AtWork:
    """A run that a trainer works on: the step it is at of ``steps``, and the seconds since it last wrote anything.

    A run in an object store shows the steps of its checkpoints alone, because its log is put there when it ends.
    """

    run_key: str
    task: str
    method: str
    lr: float
    seed: int
    attempt: int
    step: int
    steps: int
    seconds: float


@dataclass(frozen=True)
class Failed:
    """A run that was tried and has no result: the first line of the reason (of a traceback the last),
    and the file with all of it."""

    run_key: str
    task: str
    method: str
    lr: float
    seed: int
    reason: str
    file: str


@dataclass(frozen=True)
class Status:
    """How far a sweep is. ``folder`` is its folder or its address, ``driver`` who holds its lease, or None.

    ``cells`` has the number of runs in each state by task and method; ``remarks`` are lines to know.
    """

    name: str
    folder: str
    started: bool
    driver: str | None
    cells: Mapping[tuple[str, str], Counter[str]]
    at_work: Sequence[AtWork]
    failed: Sequence[Failed]
    remarks: Sequence[str]

    @property
    def total(self) -> Counter[str]:
        """The number of runs in each state."""
        return sum(self.cells.values(), Counter[str]())

    def as_json(self) -> dict[str, Any]:
        """Return the status as JSON has it."""
        numbers = [
            {"task": task, "method": method, "runs": counts.total(), **_states(counts)}
            for (task, method), counts in self.cells.items()
        ]
        return {
            "name": self.name, "folder": self.folder, "started": self.started, "driver": self.driver,
            "runs": self.total.total(), **_states(self.total), "cells": numbers,
            "runs_at_work": [asdict(run) for run in self.at_work],
            "runs_failed": [asdict(run) for run in self.failed],
            "remarks": list(self.remarks),
        }  # fmt: skip


def status_of(spec: SweepSpec) -> Status:
    """Look at the sweep of a recipe; InputError if its folder is damaged, OSError if its storage cannot be read."""
    folder = SweepFolder.of(spec)
    with objects.patience(PATIENCE_SECONDS):
        return _status(spec, folder)


def place_of(folder: SweepFolder) -> str:
    """Return the address of a sweep in an object store, or the path of its folder."""
    return objects.address_of(folder.path) or str(folder.path)


def _status(spec: SweepSpec, folder: SweepFolder) -> Status:
    if folder.path.exists() and not folder.path.is_dir():
        raise InputError(f"{folder.path} is a file, and has to be the sweep's folder. Move it, or give storage=FOLDER.")
    driver = driver_of(folder.path)  # before the files: a run that ends meanwhile is then shown as ended
    made = made_as(folder)
    files = inventory(folder.path, lambda name, beside: not skipped(name, beside))
    plan = plan_of(spec, made)
    all_runs = standings(plan, files, since=driver[1] if driver else None, dropped=_dropped(folder))
    name = driver[0] if driver else None
    return Status(
        name=spec.name,
        folder=place_of(folder),
        started=made is not None,
        driver=name,
        cells=cells(all_runs),
        at_work=[_at_work(folder, run, plan) for run in all_runs if run.state == "at work"],
        failed=[_failed(folder, run) for run in all_runs if run.state == "failed"],
        remarks=[*_remarks(spec, folder, plan, files, made is not None, name)],
    )


def _remarks(
    spec: SweepSpec, folder: SweepFolder, plan: Plan, files: Inventory, started: bool, driver: str | None
) -> list[str]:
    lines = []
    if not started and driver:
        lines.append("The driver prepares: it reads rows and base, and has planned no run yet.")
    elif not started and not files:
        lines.append(f"This sweep has never started: there is nothing in {place_of(folder)}.")
    elif not started:
        lines.append(
            f"{place_of(folder)} has no sweep.json: a first start was broken off, or this is no folder of a sweep. The "
            "sweep's command writes it."
        )
    if plan.unknown:
        lines.append(
            "The folder holds the sweep of another recipe, so these runs count as left until the sweep's command has "
            f"looked: {'; '.join(plan.unknown)}."
        )
    if plan.assumed:
        lines.append(f"Counted as if the content were the same: {'; '.join(plan.assumed)}.")
    if other := strangers(plan, files):
        lines.append(f"The folder also holds {count(other, 'run')} of other recipes; jobs/gc.py lists them.")
    if spec.search.kind != "grid":
        lines.append(f"search.kind={spec.search.kind} may ask for fewer runs than are left.")
    return lines


def _states(counts: Counter[str]) -> dict[str, int]:
    return {state.replace(" ", "_"): counts[state] for state in STATES}


def _names(standing: Standing) -> dict[str, Any]:
    run = standing.run
    return {
        "run_key": run.key,
        "task": run.spec.task.name,
        "method": run.spec.method.label,
        "lr": run.spec.lr,
        "seed": run.spec.seed,
    }


def _at_work(folder: SweepFolder, standing: Standing, plan: Plan) -> AtWork:
    step, task = standing.checkpoint, standing.run.spec.task.name
    if not objects.key_of(folder.path):
        log = attempt_folder(folder.run(standing.run.key).path, standing.attempt) / "metrics.jsonl"
        with suppress(ValueError, KeyError, TypeError, OSError):  # a line that is being written, or a log that is gone
            step = max(step, int(json.loads(last_line(log))["step"]))
    seconds = max(0.0, round(time.time() - standing.sign, 1))
    return AtWork(**_names(standing), attempt=standing.attempt, step=step, steps=plan.steps[task], seconds=seconds)


def _failed(folder: SweepFolder, standing: Standing) -> Failed:
    file = folder.run(standing.run.key).error
    try:
        lines = content(file).decode(errors="replace").splitlines()
    except OSError as error:
        lines = [f"its reason cannot be read: {error.strerror or error}"]
    said = [line.strip() for line in lines if line.strip()] or ["no reason is written"]
    reason = said[-1] if said[0].startswith("Traceback") else said[0]
    reason = without_secrets(reason)
    return Failed(**_names(standing), reason=reason, file=objects.address_of(file) or str(file))


def _dropped(folder: SweepFolder) -> list[str]:
    """Return the keys of the runs that the search had decided not to train when the sweep last ended."""
    try:
        rows = [json.loads(line) for line in content(folder.results).splitlines()]
        return [row["run_key"] for row in rows if row["status"] == "dropped"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []
