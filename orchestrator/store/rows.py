"""Run folders as rows of results.jsonl and as files of predictions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator import objects
from orchestrator.errors import DamagedRunError
from orchestrator.files import read_lines, write_bytes
from orchestrator.plan.runs import PlannedRun
from orchestrator.store.run_folder import RunFolder
from orchestrator.store.sweep_folder import SweepFolder

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


def publish_predictions(folder: RunFolder, file: Path) -> None:
    """Copy the predictions of a committed run to ``file``, unless the file on this disk has them already."""
    content = folder.artefact("predictions.jsonl").read_bytes()
    on_disk = objects.address_of(file) is None and file.is_file()
    if not (on_disk and file.read_bytes() == content):
        write_bytes(file, content)


def right_of(predictions: Iterable[Mapping[str, Any]]) -> str:
    """Return "1" or "0" per row of predictions: whether the item was answered right."""
    return "".join("1" if row["predicted"] == row["answer"] else "0" for row in predictions)


class PublishedPredictions(Mapping[str, list[dict[str, Any]]]):
    """The published predictions of these runs, by run key; a request reads one file, and nothing is kept in memory."""

    def __init__(self, folder: SweepFolder, keys: Iterable[str]) -> None:
        self._folder, self._keys = folder, dict.fromkeys(keys)

    def __getitem__(self, key: str) -> list[dict[str, Any]]:
        if key not in self._keys:
            raise KeyError(key)
        return read_lines(self._folder.predictions(key))

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def _without_result(run: PlannedRun, status: str) -> dict[str, Any]:
    spec = run.spec
    row = {"run_key": run.key, "task": spec.task.name, "method": spec.method.label, "lr": spec.lr}
    row |= {"settings": {"name": spec.method.name, **spec.method.settings}, **spec.seeds, "status": status}
    return row | dict.fromkeys((*METRICS, "diagnostics", "steps", "tokens", "train_seconds", "trainer"))
