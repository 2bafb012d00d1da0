"""Train one pack: load the base, attach a lane a run, train, score, commit. Runs on every rank; knows no Ray."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import nn

import d2lora
from orchestrator.data.prepared import load_prepared
from orchestrator.data.tokens import TokenisedSplit
from orchestrator.files import write_json, write_lines
from orchestrator.machine.deterministic import deterministic
from orchestrator.machine.memory import keep_freed_pages
from orchestrator.model.loading import DTYPES, enable_checkpointing, load_model
from orchestrator.model.shortcuts import NONE, Shortcuts, take
from orchestrator.plan.packs import Pack
from orchestrator.plan.runs import PlannedRun
from orchestrator.recipe.sections import EngineSpec
from orchestrator.search.halving import Contest, Verdict, reason
from orchestrator.statistics.volatility import loss_change, loss_volatility
from orchestrator.store.adapters import save_adapter
from orchestrator.store.rows import METRICS
from orchestrator.store.run_folder import Attempt, FencedError, RunFolder
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.train.engine.engine import Engine
from orchestrator.train.lanes import LanePlan, LaneStep
from orchestrator.train.loop import train_lanes
from orchestrator.train.score import (
    Scored,
    accuracy,
    accuracy_norm,
    count_ties,
    mean_loss,
    prediction_rows,
    score_items,
)
from orchestrator.worker.diagnostics import Diagnoses, Diagnosis
from orchestrator.worker.judging import Judge
from orchestrator.worker.lanes import lane_of_run
from orchestrator.worker.usage import Usage

_log = logging.getLogger(__name__)
_bases: dict[tuple[str, str, EngineSpec], nn.Module] = {}  # the base of the last pack, for a trainer that takes another


@dataclass(frozen=True)
class PackJob:
    """All that a trainer needs: paths on storage that every node sees, the pack, and how its runs are judged, if so."""

    folder: str
    base_path: str
    base_fingerprint: str
    data: dict[str, str]
    engine: EngineSpec
    pack: Pack
    contest: Contest | None = None
    shortcuts: Shortcuts = NONE


@dataclass
class _Lane:
    """A run while it trains; only rank 0 keeps an attempt."""

    run: PlannedRun
    attempt: Attempt | None
    log: TextIO | None
    losses: list[float] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0


def train_pack(job: PackJob, device: torch.device) -> None:
    """Train and commit every run of the pack.

    A run that diverges is ended as such and its neighbours go on; anything else raises and loses only what was not
    committed.
    """
    keep_freed_pages()
    with deterministic(job.engine.deterministic):
        _Trainer(job, device).train()


def forget_base() -> None:
    """Let go of the base that the last pack has left for the next."""
    _bases.clear()


class _Trainer:
    """One rank of one pack."""

    def __init__(self, job: PackJob, device: torch.device) -> None:
        self.job, self.device = job, device
        self.folder = SweepFolder(Path(job.folder))
        self.runs = list(job.pack.runs)  # the driver has left out what had ended; ranks must not look for themselves
        self.splits: dict[str, dict[str, TokenisedSplit]] = {}
        self.usage = Usage(device, len(self.runs))

    def train(self) -> None:
        tasks = {run.spec.task.name for run in self.runs}
        self.splits = {task: load_prepared(Path(self.job.data[task])) for task in tasks}
        self.engine = self._engine()
        try:
            self._train_lanes()
        finally:
            self.engine.close()
            d2lora.detach(self.engine.model)  # the next pack may take the base as it is

    def _train_lanes(self) -> None:
        self.lanes = [self._open(run) for run in self.runs]
        self._score_base()
        optim = self.runs[0].spec.optim
        plans = [
            LanePlan.of(run.spec.task.name, self._split(run, "train"), run.spec.data_seed, run.spec.lr, optim)
            for run in self.runs
        ]
        self.totals = [plan.steps for plan in plans]
        if self.job.contest:
            keys = [run.key for run in self.runs]
            self.judge = Judge(self.engine, self.folder.runs, self.job.contest, keys)
            plans = [replace(plan, rungs=self.judge.steps(plan.steps)) for plan in plans]
        self.clock = time.monotonic()
        most = self.job.engine.pass_tokens
        self.diagnoses = Diagnoses(self.engine, most)
        train_lanes(
            self.engine, plans, optim, on_step=self._on_step, on_end=self._on_end, on_rung=self._on_rung, tokens=most
        )

    def _engine(self) -> Engine:
        spec = self.runs[0].spec
        model = self._model()
        take(model, self.job.shortcuts, self.device)
        d2lora.attach_lanes(model, [lane_of_run(run) for run in self.runs], spec.method.patterns)
        if self.job.engine.gradient_checkpointing:
            enable_checkpointing(model)
        if self.job.engine.kind == "plain":
            from orchestrator.train.engine.plain import PlainEngine

            return PlainEngine(model, len(self.runs), spec.optim, self.device)
        from orchestrator.train.engine.zero import ZeroEngine

        return ZeroEngine(model, len(self.runs), spec.optim, self.device, self.job.engine.stage)

    def _model(self) -> nn.Module:
        """Return the base without adapters: that of the last pack in this process, if it is the same and whole."""
        dtype, engine = self.runs[0].spec.model.dtype, self.job.engine
        if engine.kind == "zero" and engine.stage == 3:  # it scatters the base itself
            return load_model(Path(self.job.base_path), DTYPES[dtype])
        wanted = (self.job.base_fingerprint, dtype, engine)
        if wanted not in _bases:
            _bases.clear()
            _bases[wanted] = load_model(Path(self.job.base_path), DTYPES[dtype])
        return d2lora.detach(_bases[wanted]).eval()  # a pack that failed as it began has left its lanes

    def _open(self, run: PlannedRun) -> _Lane:
        if self.engine.rank:
            return _Lane(run, None, None)
        try:
            attempt = self._run_folder(run).begin(run.spec.model_dump())
        except FencedError as error:  # it trains on, for the ranks go together, and is not committed a second time
            _log.warning("%s", error)
            return _Lane(run, None, None)
        return _Lane(run, attempt, (attempt.path / "metrics.jsonl").open("a"))

    def _score_base(self) -> None:
        """Score the base itself on the tasks that are this pack's to score: every lane starts there."""
        for task in self.job.pack.base_tasks:
            lane = next(index for index, run in enumerate(self.runs) if run.spec.task.name == task)
            scored = self._scores([lane], "test")[lane]
            if self.engine.rank == 0:
                write_json(
                    self.folder.base_scores(
                        self.job.data[task], self.job.base_fingerprint, self.runs[0].spec.model.dtype
                    ),
                    {"accuracy": accuracy(scored), "accuracy_norm": accuracy_norm(scored), "items": len(scored)},
                )

    def _on_step(self, done: dict[int, LaneStep]) -> None:
        now = time.monotonic()
        share, self.clock = (now - self.clock) / len(done), now
        for index, one in done.items():
            lane = self.lanes[index]
            lane.losses.append(one.loss)
            lane.tokens += one.tokens
            lane.seconds += share
            if lane.log:
                numbers = {"train_loss": one.loss, "lr": one.rate, "grad_norm": one.grad_norm, "tokens": lane.tokens}
                numbers["token_utilisation"] = one.utilisation
                finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
                lane.log.write(json.dumps({"step": one.step, "time": round(time.time() * 1000), **finite}) + "\n")
                lane.log.flush()

    def _on_end(self, finished: list[int], diverged: list[int]) -> None:
        for index in diverged:
            with _given_up_if_fenced():
                self._diverge(index)
        validation, test = self._scores(finished, "validation"), self._scores(finished, "test")
        diagnoses = self._diagnoses(finished)
        for index in finished:
            state = d2lora.adapter_state(self.engine.model, index)
            if self.lanes[index].attempt:
                with _given_up_if_fenced():
                    self._commit(index, state, validation[index], test[index], diagnoses.get(index))
        self.clock = time.monotonic()  # scoring is not training

    def _on_rung(self, step: int, reached: list[int]) -> list[int]:
        """Judge the lanes at a rung, end those that are beaten, and return them; scoring is not training."""

        def scores(lanes: list[int]) -> dict[int, float]:
            return {index: accuracy(scored) for index, scored in self._scores(lanes, "validation").items()}

        verdicts = self.judge.at(step, reached, scores)
        beaten = [index for index in reached if not verdicts[index].goes_on]
        for index in beaten:
            with _given_up_if_fenced():
                self._stop(index, verdicts[index])
        self.clock = time.monotonic()
        return beaten

    def _diagnoses(self, finished: Sequence[int]) -> dict[int, Diagnosis]:
        """Look at the weights of the lanes that this rank commits: no rank waits for another in there."""
        own = [index for index in finished if self.lanes[index].attempt]
        if not (own and self.job.engine.diagnostics):
            return {}
        return self.diagnoses.of({index: self._split(self.runs[index], "train") for index in own})

    def _commit(
        self,
        index: int,
        state: dict[str, torch.Tensor],
        validation: Sequence[Scored],
        test: Sequence[Scored],
        diagnosis: Diagnosis | None,
    ) -> None:
        lane = self.lanes[index]
        assert lane.attempt is not None  # noqa: S101 - rank 0 has opened one
        assert lane.log is not None  # noqa: S101
        lane.log.close()
        described = d2lora.describe_adapter(self.engine.model, index)
        origin = {"base": self.job.base_fingerprint, "targets": lane.run.spec.method.targets, "run_key": lane.run.key}
        save_adapter(lane.attempt.path / "adapter", state, described | origin)
        write_lines(lane.attempt.path / "predictions.jsonl", prediction_rows(test))
        lane.attempt.commit(
            self._row(lane, "committed")
            | {
                "accuracy": accuracy(test),
                "accuracy_norm": accuracy_norm(test),
                "ties": count_ties(test),
                "validation_accuracy": accuracy(validation),
                "eval_loss": mean_loss(test),
                "train_loss": lane.losses[-1],
                "train_loss_volatility": loss_volatility(lane.losses),
                "train_loss_change": loss_change(lane.losses),
                "trainable_parameters": sum(tensor.numel() for tensor in state.values()),
                "diagnostics": diagnosis,
            }
        )

    def _diverge(self, index: int) -> None:
        lane = self.lanes[index]
        if lane.attempt is None or lane.log is None:
            return
        lane.log.close()
        if self.job.contest:
            self.judge.lost(index, len(lane.losses), self.totals[index])
        error = f"The loss or its gradient stopped being finite at step {len(lane.losses)}; try a lower rate."
        lane.attempt.diverge(self._row(lane, "diverged") | {"error": error})

    def _stop(self, index: int, verdict: Verdict) -> None:
        lane = self.lanes[index]
        if lane.attempt is None or lane.log is None:
            return
        lane.log.close()
        told: dict[str, Any] = {"validation_accuracy": verdict.score, "train_loss": lane.losses[-1]}
        told |= {"reason": reason(verdict, len(lane.losses), self.totals[index])}
        lane.attempt.stop(self._row(lane, "stopped") | told, self.judge.contest.halving.rule)

    def _row(self, lane: _Lane, status: str) -> dict[str, Any]:
        spec = lane.run.spec
        return {
            "run_key": lane.run.key,
            "task": spec.task.name,
            "method": spec.method.label,
            "settings": {"name": spec.method.name, **spec.method.settings, "targets": spec.method.targets},
            "lr": spec.lr,
            **spec.seeds,
            "status": status,
            **dict.fromkeys(METRICS),
            "diagnostics": None,
            "steps": len(lane.losses),
            "tokens": lane.tokens,
            "train_seconds": round(lane.seconds, 3),
            "trainer": self.usage.until_now(),
        }

    def _scores(self, lanes: Sequence[int], split: str) -> dict[int, list[Scored]]:
        items = {index: self._split(self.runs[index], split) for index in lanes}
        return score_items(self.engine, items, len(self.runs), self.job.shortcuts.share) if items else {}

    def _split(self, run: PlannedRun, split: str) -> TokenisedSplit:
        return self.splits[run.spec.task.name][split]

    def _run_folder(self, run: PlannedRun) -> RunFolder:
        return self.folder.run(run.key)


@contextmanager
def _given_up_if_fenced() -> Iterator[None]:
    """Within: a run that another trainer has taken over is given up, and its neighbours go on."""
    try:
        yield
    except FencedError as error:
        _log.warning("%s", error)
