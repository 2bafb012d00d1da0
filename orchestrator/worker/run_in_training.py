"""The files that a run writes while it trains: an attempt, a log of its steps, and the one end of the run."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from orchestrator.errors import FencedError
from orchestrator.files import write_lines
from orchestrator.plan.runs import PlannedRun
from orchestrator.search.halving import Verdict, reason
from orchestrator.statistics.volatility import loss_change, loss_volatility
from orchestrator.store.adapters import AdapterFile, save_adapter
from orchestrator.store.attempt import Attempt
from orchestrator.store.rows import METRICS
from orchestrator.store.run_folder import RunFolder
from orchestrator.train.lanes import LaneStep
from orchestrator.train.score import Scored, accuracy, accuracy_norm, count_ties, mean_loss, prediction_rows
from orchestrator.worker.diagnostics import Diagnosis
from orchestrator.worker.usage import Usage

_log = logging.getLogger(__name__)


class RunInTraining:
    """One run while it trains. It logs steps and ends once: committed, diverged or stopped.

    Only rank 0 writes. A run that another trainer has taken over is given up: its lane trains on, because all lanes of
    a pack step together, but nothing of the run is written.
    """

    def __init__(self, run: PlannedRun, folder: RunFolder, total: int, usage: Usage, *, rank: int) -> None:
        """Open the next attempt in ``folder`` on rank 0; ``total`` is the run's number of optimizer steps."""
        self.run, self.total, self._usage = run, total, usage
        self.losses: list[float] = []
        self._tokens, self._seconds = 0, 0.0
        self._attempt = None if rank else _begin(run, folder)
        self._steps = (self._attempt.path / "metrics.jsonl").open("a") if self._attempt else None

    @property
    def writes(self) -> bool:
        """Whether this process writes the run: only rank 0 does, unless another trainer has taken the run over."""
        return self._attempt is not None

    def log(self, step: LaneStep, seconds: float) -> None:
        """Add one optimizer step to the log; ``seconds`` is the run's share of the time that the pack's step took."""
        self.losses.append(step.loss)
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
            self._steps.write(json.dumps({"step": step.step, "time": round(time.time() * 1000), **finite}) + "\n")
            self._steps.flush()

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
                attempt.commit(self._row("committed") | figures | {"diagnostics": diagnosis})

    def diverge(self) -> None:
        """End the run as diverged in its latest step."""
        error = f"The loss or its gradient stopped being finite at step {len(self.losses)}; try a lower rate."
        with self._ending() as attempt:
            if attempt:
                attempt.diverge(self._row("diverged") | {"error": error})

    def stop(self, verdict: Verdict, rule: str) -> None:
        """End the run as stopped at a rung, by ``verdict`` under ``rule``."""
        figures = {"validation_accuracy": verdict.score, "train_loss": self.losses[-1]}
        why = {"reason": reason(verdict, len(self.losses), self.total)}
        with self._ending() as attempt:
            if attempt:
                attempt.stop(self._row("stopped") | figures | why, rule)

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
            yield self._attempt
        except FencedError as error:
            _log.warning("%s", error)

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
            "trainer": self._usage.until_now(),
        }


def _begin(run: PlannedRun, folder: RunFolder) -> Attempt | None:
    """Open the next attempt; None if another trainer has ended the run already."""
    try:
        return folder.begin(run.spec.model_dump())
    except FencedError as error:
        _log.warning("%s", error)
        return None


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
