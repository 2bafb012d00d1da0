"""Train a pack: its runs as lanes of one base, step by step, until each run has ended. Every rank runs this code.

Nothing here knows Ray. The driver hands a `PackTrainer` to a cluster: ``cluster.run_packs(jobs, PackTrainer())``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch

import d2lora
from orchestrator import objects
from orchestrator.control import Control, Unsupervised
from orchestrator.data.prepared import load_prepared
from orchestrator.errors import StoppedError
from orchestrator.files import write_json
from orchestrator.logs import kept, log_of_pack
from orchestrator.machine.deterministic import deterministic
from orchestrator.machine.memory import keep_freed_pages
from orchestrator.plan.runs import PlannedRun
from orchestrator.store.adapters import AdapterFile
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.train.engine.engine import Engine
from orchestrator.train.engine.group import from_rank_0, own_rank
from orchestrator.train.lanes import LanePlan, LaneStep
from orchestrator.train.loop import train_lanes
from orchestrator.train.score import Scored, accuracy, accuracy_norm, score_items
from orchestrator.worker.diagnostics import Diagnoses, Diagnosis
from orchestrator.worker.jobs import PackJob
from orchestrator.worker.judging import Judge
from orchestrator.worker.made_by import made_by
from orchestrator.worker.resume import Opened, checkpoints_of, open_runs, report_ends, without_tensors
from orchestrator.worker.run_in_training import RunInTraining
from orchestrator.worker.saver import PackSaver
from orchestrator.worker.usage import Usage
from orchestrator.worker.warm_base import WarmBase

_log = logging.getLogger(__name__)


class PackTrainer:
    """Trains pack after pack in one process, and keeps the base between packs (ADR 5).

    The base is freed together with this object. Pickled, a `PackTrainer` is empty: a Ray worker unpickles it once, and
    the unpickled copy then loads a base of its own.
    """

    def __init__(self) -> None:
        self._base = WarmBase()

    def __call__(self, job: PackJob, device: torch.device, control: Control | None = None) -> None:
        """Train every run of the pack on ``device`` until the run has ended.

        A run goes on from its newest checkpoint; a run that has ended is left alone. A run that diverges, or that
        another trainer takes over, ends alone. StoppedError if ``control`` says so, after all runs were saved. Any
        other error is raised; runs that were committed before it stay committed.
        """
        keep_freed_pages()
        for file in (job.base_path, *job.data.values()):
            objects.ensure(Path(file))
        usage = Usage(device, len(job.pack.runs))
        logs = SweepFolder(Path(job.folder)).logs
        with kept(log_of_pack(logs, job.pack.name, own_rank())):
            try:
                self._train(job, device, control or Unsupervised(), usage)
            except StoppedError as stopped:
                _log.info("%s", stopped)
                raise
            except Exception:
                _log.exception("the pack %s failed", job.pack.name)
                raise

    def _train(self, job: PackJob, device: torch.device, control: Control, usage: Usage) -> None:
        opened = open_runs(job)
        _log.info("pack %s: %s", job.pack.name, _begins(job, opened))
        report_ends(job, opened, control)
        if not any(run.living for run in opened):
            return
        with (
            deterministic(job.engine.deterministic),
            self._base.with_lanes(job, device, checkpoints_of(opened)) as engine,
            closing(PackInTraining(job, engine, without_tensors(opened), usage, control)) as pack,
        ):
            pack.train()


def _begins(job: PackJob, opened: Sequence[Opened]) -> str:
    """Return where each run of the pack goes on, in words."""
    words = {None: "has ended", 0: "begins"}
    runs = zip(job.pack.runs, opened, strict=True)
    return ", ".join(f"{run.key} {words.get(begun.done, f'goes on after step {begun.done}')}" for run, begun in runs)


class PackInTraining:
    """One rank of one pack.

    `train_lanes` calls `step`, `leave` and `rung`; these log the steps, and score, judge and end the runs.
    """

    def __init__(self, job: PackJob, engine: Engine, opened: Sequence[Opened], usage: Usage, control: Control) -> None:
        """Begin the logs of the runs of the job, as `open_runs` has opened them."""
        self.job, self.engine, self.control = job, engine, control
        runs = job.pack.runs
        self._folder, self._optim = SweepFolder(Path(job.folder)), job.optim
        self._splits = {task: load_prepared(Path(job.data[task])) for task in {run.spec.task.name for run in runs}}
        plans = [self._plan(run) for run in runs]
        keys = [run.key for run in runs]
        self._judge = Judge(engine, self._folder.runs, job.contest, keys) if job.contest else None
        self._plans = [
            replace(plan, done=run.done, rungs=self._judge.steps(plan.steps) if self._judge else ())
            for plan, run in zip(plans, opened, strict=True)
        ]
        self._diagnoses = Diagnoses(engine, job.engine.pass_tokens)
        self._clock = time.monotonic()
        maker = made_by(job, engine)
        self.runs = [
            RunInTraining(run, begun, plan.steps, usage, control, maker)
            for run, begun, plan in zip(runs, opened, plans, strict=True)
        ]
        self._saver = PackSaver(engine, self.runs, control, job.engine.checkpoint_seconds)

    def train(self) -> None:
        """Train every lane to its end."""
        self._score_base()
        self._clock = time.monotonic()
        train_lanes(
            self.engine,
            self._plans,
            self._optim,
            on_step=self.step,
            on_end=self.leave,
            on_rung=self.rung,
            tokens=self.job.engine.pass_tokens,
            saving=self._saver,
        )

    def close(self) -> None:
        """Close the logs of runs that have not ended, because the pack has failed or was told to stop."""
        self._saver.close()
        for run in self.runs:
            run.close()

    def step(self, done: Mapping[int, LaneStep]) -> None:
        """Log one optimizer step of each lane in ``done``; the lanes share the time of the step equally."""
        now = time.monotonic()
        seconds, self._clock = (now - self._clock) / len(done), now
        for lane, step in done.items():
            self.runs[lane].log(step, seconds)
        self.control.progress({self.runs[lane].run.key: len(self.runs[lane].losses) for lane in done})

    def leave(self, finished: Sequence[int], diverged: Sequence[int]) -> None:
        """End the runs of diverged lanes; score and commit the runs of lanes that have finished their last step."""
        self._saver.wait()  # a lane leaves only after the lanes that stay are saved where it leaves
        for lane in diverged:
            self._diverge(self.runs[lane], lane)
        validation, test = self._scores(finished, "validation"), self._scores(finished, "test")
        diagnoses = self._diagnose(finished)
        for lane in finished:
            if self.runs[lane].writes:
                self.runs[lane].commit(self._adapter(lane), validation[lane], test[lane], diagnoses.get(lane))
        self._clock = time.monotonic()  # scoring is not training

    def rung(self, step: int, reached: Sequence[int]) -> list[int]:
        """Judge the lanes for which ``step`` is a rung, end the beaten runs, and return their lanes."""
        if self._judge is None:
            return []
        verdicts = self._judge.at(step, reached, self._validation_accuracies)
        beaten = [lane for lane in reached if not verdicts[lane].goes_on]
        self._saver.wait()
        for lane in beaten:
            self.runs[lane].stop(verdicts[lane], self._judge.contest.halving.rule)
        self._clock = time.monotonic()  # scoring is not training
        return beaten

    def _plan(self, run: PlannedRun) -> LanePlan:
        spec = run.spec
        return LanePlan.of(spec.task.name, self._splits[spec.task.name]["train"], spec.data_seed, spec.lr, self._optim)

    def _score_base(self) -> None:
        """Score the untrained base on the tasks that the pack names in ``base_tasks``.

        Before its first step a lane computes the same as the base, so any lane of the task can score the base.
        """
        runs = self.job.pack.runs
        for task in from_rank_0(self._unscored_tasks):
            lane = next(index for index, run in enumerate(runs) if run.spec.task.name == task)
            scored = self._scores([lane], "test")[lane]
            if self.engine.rank == 0:
                dtype = runs[0].spec.model.dtype
                place = self._folder.base_scores(self.job.data[task], self.job.base_fingerprint, dtype)
                figures = {"accuracy": accuracy(scored), "accuracy_norm": accuracy_norm(scored), "items": len(scored)}
                write_json(place, figures)

    def _unscored_tasks(self) -> list[str]:
        """Return the tasks that this pack has still to score the base on: an earlier attempt may have done so."""
        dtype = self.job.pack.runs[0].spec.model.dtype
        places = {
            task: self._folder.base_scores(self.job.data[task], self.job.base_fingerprint, dtype)
            for task in self.job.pack.base_tasks
        }
        return [task for task, place in places.items() if not place.exists()]

    def _diverge(self, run: RunInTraining, lane: int) -> None:
        if self._judge and run.writes:
            self._judge.lost(lane, len(run.losses), run.total)
        run.diverge()

    def _diagnose(self, finished: Sequence[int]) -> dict[int, Diagnosis]:
        """Return diagnoses of the lanes that this rank commits. Other ranks do not take part and do not wait."""
        own = [lane for lane in finished if self.runs[lane].writes]
        if not (own and self.job.engine.diagnostics):
            return {}
        return self._diagnoses.of({lane: self._plans[lane].items for lane in own})

    def _adapter(self, lane: int) -> AdapterFile:
        """Return a lane's adapter, described by its method, its layers, the base's fingerprint and the run key."""
        run = self.job.pack.runs[lane]
        origin = {"base": self.job.base_fingerprint, "targets": run.spec.method.targets, "run_key": run.key}
        description = d2lora.describe_adapter(self.engine.model, lane) | origin
        return AdapterFile(d2lora.adapter_state(self.engine.model, lane), description)

    def _validation_accuracies(self, lanes: Sequence[int]) -> dict[int, float]:
        return {lane: accuracy(scored) for lane, scored in self._scores(lanes, "validation").items()}

    def _scores(self, lanes: Sequence[int], split: str) -> dict[int, list[Scored]]:
        """Return the scored items of a split for each of these lanes, on every rank."""
        runs = self.job.pack.runs
        items = {lane: self._splits[runs[lane].spec.task.name][split] for lane in lanes}
        return score_items(self.engine, items, len(runs), self.job.shortcuts.share) if items else {}
