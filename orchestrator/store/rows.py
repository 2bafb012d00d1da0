"""What the run folders hold, as rows of results.jsonl and as files of predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.files import write_bytes
from orchestrator.plan.runs import PlannedRun
from orchestrator.store.manifest import DamagedRunError
from orchestrator.store.run_folder import RunFolder


def result_row(run: PlannedRun, folder: RunFolder, error: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a run: its own if it has ended and is whole, else one that says ``error``, with ``extra``."""
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


def _without_result(run: PlannedRun, status: str) -> dict[str, Any]:
    spec = run.spec
    row = {"run_key": run.key, "task": spec.task.name, "method": spec.method.label, "lr": spec.lr}
    row |= {"settings": {"name": spec.method.name, **spec.method.settings}, **spec.seeds, "status": status}
    return row | dict.fromkeys((*METRICS, "diagnostics", "steps", "tokens", "train_seconds", "trainer"))


def publish_predictions(folder: RunFolder, place: Path) -> list[dict[str, Any]]:
    """Copy a committed run's predictions to ``place``, and return them."""
    content = (folder.path / "predictions.jsonl").read_bytes()
    write_bytes(place, content)
    return [json.loads(line) for line in content.splitlines()]


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
