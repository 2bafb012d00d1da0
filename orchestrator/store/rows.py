"""Run folders as rows of results.jsonl and as files of predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import DamagedRunError
from orchestrator.files import write_bytes
from orchestrator.plan.runs import PlannedRun
from orchestrator.store.run_folder import RunFolder

DONE = ("committed", "dropped", "stopped")
"""The statuses of a row after which nothing is left to do; a run with another status is reported at the end."""
FINAL = (*DONE, "diverged")
"""The statuses of a row whose run is not trained again. A diverged run is reported, and is a result, not a failure."""
METRICS = (
    "accuracy",
    "accuracy_norm",
    "ties",
    "validation_accuracy",
    "eval_loss",
    "train_loss",
    "train_loss_volatility",
    "train_loss_change",
    "trainable_parameters",
)
"""The columns of results.jsonl with the numbers of a result; null in the row of a run without a result."""


def result_row(run: PlannedRun, folder: RunFolder, error: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a run, with the columns ``extra``.

    The row comes from the run's end. If the run has not ended, or if its end is damaged, the row has the status
    "failed" and says ``error``, or what is damaged.
    """
    try:
        folder.check()
        if folder.ended():
            return {**folder.row(), "method": run.spec.method.label, **run.spec.seeds, **extra}
    except DamagedRunError as damaged:
        error = str(damaged)
    return {**_without_result(run, "failed"), **extra, "error": error}


def dropped_row(run: PlannedRun, reason: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a run that the search has decided not to train: it has no result, and nothing went wrong."""
    return {**_without_result(run, "dropped"), **extra, "reason": reason}


def publish_predictions(folder: RunFolder, file: Path) -> list[dict[str, Any]]:
    """Copy the predictions of a committed run to ``file``, and return their rows."""
    content = folder.artefact("predictions.jsonl").read_bytes()
    write_bytes(file, content)
    return [json.loads(line) for line in content.splitlines()]


def _without_result(run: PlannedRun, status: str) -> dict[str, Any]:
    spec = run.spec
    row = {"run_key": run.key, "task": spec.task.name, "method": spec.method.label, "lr": spec.lr}
    row |= {"settings": {"name": spec.method.name, **spec.method.settings}, **spec.seeds, "status": status}
    return row | dict.fromkeys((*METRICS, "diagnostics", "steps", "tokens", "train_seconds", "trainer"))
