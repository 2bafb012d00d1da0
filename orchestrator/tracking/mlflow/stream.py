"""Send the new steps of a run to MLflow in batches, then the run's end; or the error of a run that failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.plan.runs import PlannedRun
from orchestrator.tracking.mlflow import fields
from orchestrator.tracking.mlflow.closing import last_point, take_up, terminate
from orchestrator.tracking.mlflow.entities import params, points, run_tags
from orchestrator.tracking.mlflow.entries import FAILED, NO_STEP, STATUS, Known, state_of
from orchestrator.tracking.mlflow.ledger import Ledger
from orchestrator.tracking.mlflow.progress import Progress

BATCH = 900  # metrics per request; MLflow takes 1,000 entries, and parameters and tags go with them
LONGEST_ERROR = 4000  # characters of an error that are shown: its end, which says what happened


def send_new(client: Any, ledger: Ledger, run: PlannedRun, progress: Progress) -> None:
    """Send the steps that MLflow does not have, and the end of a run that has ended once all the rest has arrived.

    After any error call this function again: nothing is lost, and nothing is shown twice.
    """
    known = ledger.run(run)
    if _goes_on(known, progress):
        take_up(client, ledger, known)
    if not (progress.steps or progress.ended) or (known.state == "interrupted" and not progress.ended):
        return
    last = last_point(client, known)[0] if known.step is None else known.step
    new = [row for row in progress.steps if row["step"] > last]
    if not new and not progress.ended and known.described:
        known.step = last
        return
    metrics = [point for row in new for point in points(fields.step_values(row), int(row["time"]), int(row["step"]))]
    if progress.ended:
        metrics += points(fields.scores(progress.row), progress.end or 0)
    known.step = None  # unknown until MLflow has answered
    _send(client, known, run, metrics, fields.end_tags(progress.ended, progress.row) if progress.ended else {})
    known.step = max((int(row["step"]) for row in new), default=last)
    known.end = progress.end or known.end
    if progress.ended:
        _end(client, known, progress.ended)


def send_error(client: Any, known: Known, run: PlannedRun, error: str) -> None:
    """End a run as FAILED with the end of its error, at its last step; a run without a step has no duration."""
    known.state = "failed"
    _send(client, known, run, [], {"error": error[-LONGEST_ERROR:]})
    if known.end is None and known.step != NO_STEP:
        known.end = last_point(client, known)[1]
    terminate(client, known, FAILED)


def _goes_on(known: Known, progress: Progress) -> bool:
    """Tell whether a run that MLflow shows as stopped or as broken off is being trained again."""
    if known.state == "stopped":
        return progress.ended != "stopped"
    return known.state == "interrupted" and not progress.ended and (progress.end or 0) > (known.end or 0)


def _send(client: Any, known: Known, run: PlannedRun, metrics: Sequence[Any], tags: Mapping[str, str]) -> None:
    """Send in as few requests as MLflow takes; the tags come last, because they say that MLflow has all metrics."""
    described = [] if known.described else params(fields.params(run))  # may be sent twice, because they never change
    for begin in range(0, max(1, len(metrics)), BATCH):
        last = begin + BATCH >= len(metrics)
        client.log_batch(known.id, metrics[begin : begin + BATCH], described, run_tags(tags) if last else [])
        described = []
    known.described = True


def _end(client: Any, known: Known, ended: str) -> None:
    if known.state == "failed" and "error" in client.get_run(known.id).data.tags:  # the error of an earlier try
        client.delete_tag(known.id, "error")
    terminate(client, known, STATUS[ended])
    known.state, known.last_status = state_of(STATUS[ended]), STATUS[ended]
