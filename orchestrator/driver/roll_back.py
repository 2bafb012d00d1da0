"""Roll a task's champion back to the champion before it: on disk or in the store, and in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from d2lora.names import unknown
from orchestrator import objects
from orchestrator.driver.final_message import run_name
from orchestrator.driver.services import make_tracker
from orchestrator.errors import InputError
from orchestrator.recipe.spec import SweepSpec
from orchestrator.say import Say
from orchestrator.store.champion import BEFORE, beside, champion_before, evaluation_in
from orchestrator.store.champion_change import roll_back, settle
from orchestrator.store.identity import identity_of
from orchestrator.store.lease import hold
from orchestrator.store.links import refuse_links_out
from orchestrator.store.rolled_back import memory_of, rolled_back
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.tracking.patient import PatientTracker


def roll_back_champion(spec: SweepSpec, command: str, task: str | None, say: Say) -> int:
    """Bring back the champion that stood before the champion of ``task``; return the exit code.

    0: the champion before stands, or there is none. 1: it stands, and the tracker has not heard of it yet; the same
    command tells it, and so does the next start of the sweep. A second call says that there is nothing to roll back.
    InputError if no task, or no task of the recipe, is named; HeldError if another process works on the sweep.
    """
    folder = SweepFolder.of(spec)
    if not (objects.key_of(folder.path) or folder.path.is_dir()):
        raise InputError(f"{folder.path}: there is no sweep here. Give the recipe and the storage= of the sweep.")
    refuse_links_out(folder.path)
    with hold(folder.path):
        folder.fetch()
        _check(spec, folder, task)
        place = folder.champion(str(task))
        tracker = PatientTracker(make_tracker(spec, command, identity_of(folder), say), say)
        tracker.look()
        settle(place)
        left = evaluation_in(place)
        done = roll_back(place, date.today().isoformat())
        stands = evaluation_in(place)
        for line in _lines(str(task), folder, left if done else None, stands):
            say(line)
        if stands.get("status") == "sound":
            tracker.register(str(task), stands, place, champion_before(place))
    if tracker.problem:
        say(tracker.problem)
    return 1 if tracker.problem else 0


def _check(spec: SweepSpec, folder: SweepFolder, task: str | None) -> None:
    """Refuse a call without a task, and a task that the recipe does not have; InputError lists the tasks."""
    tasks = [each.name for each in spec.tasks]
    if task is None:
        there = [name for name in tasks if beside(folder.champion(name), BEFORE)]
        which = ", ".join(f"task={name}" for name in there) or "no task has one now"
        raise InputError(f"Give task=TASK, a task whose champion has replaced another champion: {which}.")
    if task not in tasks:
        raise InputError(f"task={task}: {unknown('task', task, tasks)}")


def _lines(task: str, folder: SweepFolder, left: Mapping[str, Any] | None, stands: Mapping[str, Any]) -> list[str]:
    """Return what to say; ``left`` is the evaluation of the champion that was rolled back now, or None."""
    place = folder.champion(task)
    if left is None:
        gone = rolled_back(place)
        last = f" It was rolled back on {gone[-1].day}, to run {gone[-1].back_to}." if gone else ""
        return [f"{task}: there is nothing to roll back: no champion before this one is kept.{last}"]
    return [
        f"{task}: back to {run_name(stands)} (run {stands['run_key']}), in {place}.",
        f"  {run_name(left)} (run {left['run_key']}) will not become the champion again: {memory_of(place)} has it.",
        f"  {folder.report} still shows it until the next start of the sweep, or jobs/report.py.",
    ]
