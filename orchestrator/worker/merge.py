"""Merge a task's champion into a plain Hugging Face directory; a sound champion that was there is not lost."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from orchestrator import objects
from orchestrator.files import read_json, write_json
from orchestrator.store.champion import EVALUATION, up_to_date
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.worker.champion_scores import merged_and_evaluated
from orchestrator.worker.jobs import ChampionJob

KEPT = ".sound-"  # champions/<task>.sound-<run key>; the name of a task has no dot


def make_champion(job: ChampionJob, place: Path) -> dict[str, Any]:
    """Merge the champion into ``place``, a plain Hugging Face directory, and return its evaluation (ADR 20).

    The evaluation is also written to ``place``. A champion that fails a check is broken: then ``place`` holds the
    evaluation alone, which says why. A sound champion that a broken champion replaces is kept beside ``place``, until
    the task has a sound champion again.
    """
    for file in (job.base_path, job.data):
        objects.ensure(Path(file))
    objects.fetch(SweepFolder(Path(job.folder)).run(job.row["run_key"]).path)
    draft = place.with_name(f".tmp-{place.name}")
    shutil.rmtree(draft, ignore_errors=True)
    evaluation = merged_and_evaluated(job, draft, place)
    if evaluation["status"] == "broken":
        shutil.rmtree(draft, ignore_errors=True)
        _move_sound_aside(place)
        if kept := _kept_sound(place):
            evaluation["why"] += f" The sound champion before it is kept in {kept[-1]}."
    write_json(draft / EVALUATION, evaluation)
    shutil.rmtree(place, ignore_errors=True)
    draft.rename(place)
    objects.put(place)
    for old in _kept_sound(place) if evaluation["status"] == "sound" else ():
        shutil.rmtree(old)
    return evaluation


def _move_sound_aside(place: Path) -> None:
    """Move a sound champion in ``place`` to a name that no task has, so that nobody takes it for the new champion."""
    evaluation = read_json(place / EVALUATION)
    run_key = evaluation.get("run_key") if isinstance(evaluation, dict) else None
    if isinstance(run_key, str) and up_to_date(place, run_key) is not None:
        for older in _kept_sound(place):
            shutil.rmtree(older)
        place.rename(place.with_name(f"{place.name}{KEPT}{run_key}"))


def _kept_sound(place: Path) -> list[Path]:
    """Return the directories to which sound champions were moved from ``place``; there is at most one."""
    return sorted(place.parent.glob(f"{place.name}{KEPT}*"))
