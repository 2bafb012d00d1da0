"""The files that a run writes while it trains: an attempt, a log of its steps, and the one end of the run."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from orchestrator.control import Control, RunEnd
from orchestrator.errors import FencedError
from orchestrator.files import write_lines
from orchestrator.plan.runs import PlannedRun
from orchestrator.search.halving import Verdict, reason
from orchestrator.statistics.volatility import loss_change, loss_volatility
from orchestrator.store.adapters import AdapterFile, save_adapter
from orchestrator.store.attempt import Attempt
from orchestrator.store.checkpoint import Checkpoint
from orchestrator.store.rows import METRICS
from orchestrator.train.engine.engine import Moments
from orchestrator.train.lanes import LaneStep
from orchestrator.train.score import Scored, accuracy, accuracy_norm, count_ties, mean_loss, prediction_rows
from orchestrator.worker.diagnostics import Diagnosis
from orchestrator.worker.resume import Opened
from orchestrator.worker.usage import Usage

_log = logging.getLogger(__name__)


class RunInTraining:
    """One run while it trains. It logs steps and ends once: committed, diverged or stopped.

    Only rank 0 writes. A run that another trainer takes over meanwhile is given up: its lane trains on, because all
    lanes of a pack step together, but nothing of the run is written. Figures and log are those of an undisturbed run:
    the steps before ``opened.checkpoint`` count once.
    """

    def __init__(
        self,
        run: PlannedRun,
        opened: Opened,
        total: int,
        usage: Usage,
        control: Control,
        made_by: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Begin the log of the opened attempt; ``total`` is the run's number of optimizer steps."""
        self._made_by = dict(made_by) | {"attempt": opened.attempt.number if opened.attempt else None}
        if opened.checkpoint and opened.checkpoint.makers:  # if no step is left, the last maker's micro batch stands
            self._made_by["micro_batch"] = opened.checkpoint.makers[-1].get("micro_batch")
        self.run, self.total, self.attempt = run, total, opened.attempt
        self._usage, self._control, self._before = usage, control, opened.checkpoint
        rows = self._before.rows if self._before else []
        self.losses: list[float] = [row["train_loss"] for row in rows]
        self._tokens: int = rows[-1]["tokens"] if rows else 0
        self._seconds = self._before.seconds if self._before else 0.0
        self._log = bytearray(self._before.log if self._before else b"")
        self._steps = (self.attempt.path / "metrics.jsonl").open("wb") if self.attempt else None
        if self._steps:
            self._steps.write(self._log)
            self._steps.flush()

    @property
    def writes(self) -> bool:
        """Whether this process writes the run: only rank 0 does, and only a run that had not ended."""
        return self.attempt is not None

    def log(self, step: LaneStep, seconds: float) -> None:
        """Add one optimizer step to the log; ``seconds`` is the run's share of the time that the pack's step took."""
        self.losses.append(step.loss)
        self._made_by["micro_batch"] = step.micro_batch
        self._tokens += step.tokens
        self._seconds += seconds
        if self._steps:
            numbers = {
                "train_loss": step.loss,
                "lr": step.rate,
                "grad_norm": step.grad_norm,
                "tokens": self._tokens,
                "token_utilisation": step.utilisation,
            }
            finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
            line = json.dumps({"step": step.step, "time": round(time.time() * 1000), **finite}).encode() + b"\n"
            self._log += line
            self._steps.write(line)
            self._steps.flush()

    def checkpoint(
        self, adapter: Mapping[str, Tensor], moments: Moments, together: tuple[str, ...], leaving: tuple[str, ...]
    ) -> Checkpoint:
        """Return this run as it is after its latest step.

        ``together`` are the keys of all runs that are saved now, ``leaving`` of those that diverged in this step.
        """
        usage = self._trainer()
        return Checkpoint(
            run_key=self.run.key,
            step=len(self.losses),
            together=together,
            adapter={name: tensor.cpu() for name, tensor in adapter.items()},
            first=_like(moments.first_P, adapter),
            second=_like(moments.second_P, adapter),
            updates=moments.updates,
            log=bytes(self._log),
            seconds=self._seconds,
            cpu_seconds=usage["cpu_seconds"],
            peak_megabytes=usage["peak_memory_megabytes"],
            resumed=tuple(self._resumed()),
            leaving=leaving,
            makers=(*self._made_before(), dict(self._made_by)),
        )

    def commit(
        self,
        adapter: AdapterFile,
        validation: Sequence[Scored],
        test: Sequence[Scored],
        diagnosis: Diagnosis | None,
    ) -> None:
        """End the run as committed, with its adapter, its scored test items and its figures."""
        with self._ending() as attempt:
            if attempt:
                save_adapter(attempt.path / "adapter", adapter.state, adapter.description)
                write_lines(attempt.path / "predictions.jsonl", prediction_rows(test))
                figures = _figures(validation, test, self.losses)
                figures["trainable_parameters"] = sum(tensor.numel() for tensor in adapter.state.values())
                row = self._row("committed") | figures | {"diagnostics": diagnosis}
                self._report(row, attempt.commit(row))

    def diverge(self) -> None:
        """End the run as diverged in its latest step."""
        error = f"The loss or its gradient stopped being finite at step {len(self.losses)}; try a lower rate."
        with self._ending() as attempt:
            if attempt:
                row = self._row("diverged") | {"error": error}
                self._report(row, attempt.diverge(row))

    def stop(self, verdict: Verdict, rule: str) -> None:
        """End the run as stopped at a rung, by ``verdict`` under ``rule``."""
        figures = {"validation_accuracy": verdict.score, "train_loss": self.losses[-1]}
        why = {"reason": reason(verdict, len(self.losses), self.total)}
        with self._ending() as attempt:
            if attempt:
                row = self._row("stopped") | figures | why
                self._report(row, attempt.stop(row, rule))

    def close(self) -> None:
        """Close the log of steps. A run that is closed and has not ended is trained again."""
        if self._steps:
            self._steps.close()

    @contextmanager
    def _ending(self) -> Iterator[Attempt | None]:
        """Within: the log is closed, and the attempt may end; None in a process that does not write.

        FencedError within gives up this run; its neighbours go on.
        """
        self.close()
        try:
            yield self.attempt
        except FencedError as error:
            _log.warning("%s", error)

    def _report(self, row: Mapping[str, Any], seal: str) -> None:
        number = self.attempt.number if self.attempt else 0
        _log.info("run %s is %s after step %d", self.run.key, row["status"], len(self.losses))
        self._control.ended(RunEnd(self.run.key, row["status"], number, seal))

    def _resumed(self) -> list[int]:
        """Return the steps from which attempts at this run have gone on, this attempt included."""
        return [*self._before.resumed, self._before.step] if self._before else []

    def _made_before(self) -> list[Mapping[str, Any]]:
        """Return the makers (code, device, pack) of the steps before this attempt, the oldest maker first."""
        return list(self._before.makers) if self._before else []

    def _trainer(self) -> dict[str, float]:
        """Return what the trainer has used so far: processor time without work that was lost, and peak memory."""
        usage = self._usage.until_now()
        if self._before:
            usage["cpu_seconds"] = round(usage["cpu_seconds"] + self._before.cpu_seconds, 3)
            usage["peak_memory_megabytes"] = max(usage["peak_memory_megabytes"], self._before.peak_megabytes)
        return usage

    def _row(self, status: str) -> dict[str, Any]:
        """Return the columns of results.jsonl that every end of a run has; the columns of METRICS are still None."""
        spec = self.run.spec
        return {
            "run_key": self.run.key,
            "task": spec.task.name,
            "method": spec.method.label,
            "settings": {"name": spec.method.name, **spec.method.settings, "targets": spec.method.targets},
            "lr": spec.lr,
            **spec.seeds,
            "status": status,
            **dict.fromkeys(METRICS),
            "diagnostics": None,
            "steps": len(self.losses),
            "tokens": self._tokens,
            "train_seconds": round(self._seconds, 3),
            "trainer": self._trainer(),
            "resumed": self._resumed(),
            "made_by": self._made_by,
            "made_before": self._made_before(),
        }


def _like(vector_P: Tensor, adapter: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the vector cut into tensors with the names and shapes of the adapter's."""
    parts = torch.split(vector_P, [tensor.numel() for tensor in adapter.values()])
    return {name: part.reshape(tensor.shape) for part, (name, tensor) in zip(parts, adapter.items(), strict=True)}


def _figures(validation: Sequence[Scored], test: Sequence[Scored], losses: Sequence[float]) -> dict[str, Any]:
    """Return the figures of a committed run: its scores, and its training loss in nats per answer token."""
    return {
        "accuracy": accuracy(test),
        "accuracy_norm": accuracy_norm(test),
        "ties": count_ties(test),
        "validation_accuracy": accuracy(validation),
        "eval_loss": mean_loss(test),
        "train_loss": losses[-1],
        "train_loss_volatility": loss_volatility(losses),
        "train_loss_change": loss_change(losses),
    }
