"""Where each run of a pack goes on: rank 0 opens the attempts and reads the checkpoints, and tells the other ranks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from orchestrator.control import Control
from orchestrator.data.batches import count_steps
from orchestrator.data.prepared import load_prepared
from orchestrator.errors import DamagedCheckpointError, DamagedRunError, FencedError
from orchestrator.search.rungs import Rung
from orchestrator.store.attempt import Attempt
from orchestrator.store.checkpoint import (
    KEPT,
    Checkpoint,
    StoredCheckpoint,
    remove_checkpoint,
    sound_checkpoints,
    stored_checkpoints,
)
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.train.engine.group import from_rank_0, own_rank
from orchestrator.worker.jobs import PackJob

_log = logging.getLogger(__name__)
TRIES = 3  # choices of checkpoints, while another trainer removes some


@dataclass(frozen=True)
class Opened:
    """A run as its trainer meets it.

    ``living`` is whether the run is to be trained: it has not ended. ``checkpoint`` is the state to go on from; None:
    from the first step. ``attempt`` is where the run is written; None on all ranks but rank 0, and for a run that has
    ended.
    """

    living: bool
    checkpoint: Checkpoint | None = None
    attempt: Attempt | None = None

    @property
    def figures(self) -> Opened:
        """This run without the tensors of its checkpoint, once they are in the model."""
        return replace(self, checkpoint=self.checkpoint and self.checkpoint.figures)

    @property
    def done(self) -> int | None:
        """The number of steps that the run has done; None for a run that has ended."""
        if not self.living:
            return None
        return self.checkpoint.step if self.checkpoint else 0


def open_runs(job: PackJob) -> list[Opened]:
    """Open an attempt at each run of the pack that has not ended; every rank calls, and rank 0 alone looks at the disk.

    So all ranks train the same lanes from the same steps, even where two nodes would see different files.
    """
    folder = SweepFolder(Path(job.folder))
    keys = [run.key for run in job.pack.runs]
    attempts = [_begin(folder, job, number) for number in range(len(keys))] if own_rank() == 0 else [None] * len(keys)

    living = [key for key, attempt in zip(keys, attempts, strict=True) if attempt]
    contents = _chosen(living, job, folder) if own_rank() == 0 else {}
    begun = from_rank_0(lambda: list(contents))
    return [
        # one run after another, to need little memory
        Opened(key in begun, from_rank_0(partial(contents.get, key)) if key in begun else None, attempt)
        for key, attempt in zip(keys, attempts, strict=True)
    ]


def _chosen(living: Sequence[str], job: PackJob, folder: SweepFolder) -> dict[str, Checkpoint | None]:
    """Return the content of the checkpoint from which each living run goes on; None: from the first step.

    A trainer that was given up may still write and remove checkpoints; where a chosen one is gone, choose again. Newer
    ones than the chosen are removed: the steps after it are trained again, in this pack.
    """
    for _ in range(TRIES - 1):
        with suppress(DamagedCheckpointError, OSError):
            return _chosen_now(living, job, folder)
    return _chosen_now(living, job, folder)


def _chosen_now(living: Sequence[str], job: PackJob, folder: SweepFolder) -> dict[str, Checkpoint | None]:
    sound = {key: sound_checkpoints(folder.run(key).path, key) for key in living}
    chosen = go_on_from(_unjudged_after(sound, job, folder) if job.contest else sound)
    contents = {key: stored.read(key) if stored else None for key, stored in chosen.items()}
    for key, stored in chosen.items():
        for newer in stored_checkpoints(folder.run(key).path):
            if stored is None or newer.step > stored.step:
                remove_checkpoint(newer.path)
    return contents


def go_on_from(sound: Mapping[str, Mapping[int, StoredCheckpoint]]) -> dict[str, StoredCheckpoint | None]:
    """Choose the checkpoint of each run of a pack, from its sound checkpoints by step; None begins with the first step.

    A checkpoint is complete if every run of this pack that was saved together with it has a sound checkpoint at the
    same step, and if no run of this pack was about to leave then: a kill may come between two runs. Each run goes on
    from its newest complete checkpoint, so that the pack has the lanes that it had in each step. A run without a
    complete checkpoint began a moment ago, unless it has all checkpoints that are kept: then a neighbour's are damaged,
    and the run goes on from its newest, without it.
    """

    def complete(checkpoint: StoredCheckpoint) -> bool:
        together = all(checkpoint.step in sound[key] for key in checkpoint.together if key in sound)
        return together and not any(key in sound for key in checkpoint.leaving)

    def choose(own: Mapping[int, StoredCheckpoint]) -> StoredCheckpoint | None:
        newest_first = [own[step] for step in sorted(own, reverse=True)]
        fallback = newest_first[0] if len(newest_first) >= KEPT else None
        return next((checkpoint for checkpoint in newest_first if complete(checkpoint)), fallback)

    return {key: choose(own) for key, own in sound.items()}


def _unjudged_after(
    sound: Mapping[str, Mapping[int, StoredCheckpoint]], job: PackJob, folder: SweepFolder
) -> dict[str, dict[int, StoredCheckpoint]]:
    """Leave out checkpoints after a rung without a verdict, or where the run was beaten, under this search."""
    contest, left = job.contest, dict[str, dict[int, StoredCheckpoint]]()
    runs = {run.key: run.spec for run in job.pack.runs}
    totals = {task: len(load_prepared(Path(file))["train"]) for task, file in job.data.items()}
    for key, own in sound.items():
        optim = runs[key].optim
        total = count_steps(totals[runs[key].task.name], optim.global_batch, optim.epochs)
        rungs = contest.halving.steps(total) if contest else ()
        rule = contest.halving.rule if contest else ""
        verdicts = {step: Rung(folder.run(key).path, step).verdict(rule) for step in rungs}
        open_rungs = [step for step, verdict in verdicts.items() if verdict is None or not verdict.goes_on]
        left[key] = {step: state for step, state in own.items() if step <= min(open_rungs, default=total)}
    return left


def report_ends(job: PackJob, opened: Sequence[Opened], control: Control) -> None:
    """Report, on rank 0, the runs of the pack that had ended: an earlier trainer may have died before its report."""
    for run, begun in zip(job.pack.runs, opened, strict=True):
        if own_rank() == 0 and not begun.living:
            folder = SweepFolder(Path(job.folder)).run(run.key)
            with suppress(DamagedRunError):  # the driver finds it, and says so
                control.ended(folder.end())


def without_tensors(opened: list[Opened]) -> list[Opened]:
    """Drop the tensors of the checkpoints, in place, because they are in the model now; return the list."""
    opened[:] = [run.figures for run in opened]
    return opened


def checkpoints_of(opened: Sequence[Opened]) -> dict[int, Checkpoint]:
    """Return the checkpoints from which lanes go on, by lane."""
    return {lane: run.checkpoint for lane, run in enumerate(opened) if run.checkpoint}


def _begin(folder: SweepFolder, job: PackJob, number: int) -> Attempt | None:
    """Open the next attempt at a run; None if another trainer has ended the run already."""
    run = job.pack.runs[number]
    try:
        return folder.run(run.key).begin(run.spec.model_dump())
    except FencedError as error:
        _log.warning("%s", error)
        return None
