"""Send the new steps of a run to MLflow in batches, then the run's end; or the error of a run that failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.plan.runs import PlannedRun
from orchestrator.tracking.mlflow import fields
from orchestrator.tracking.mlflow.entities import params, points, run_tags
from orchestrator.tracking.mlflow.ledger import NO_STEP, STATUS, Known
from orchestrator.tracking.mlflow.progress import Progress

BATCH = 900  # metrics per request; MLflow takes 1,000 entries, and parameters and tags go with them
LAST = "tokens"  # the metric that is sent last of a step: if MLflow has it, MLflow has the whole step
LONGEST_ERROR = 4000  # characters of an error that are shown: its end, which says what happened


def send_new(client: Any, known: Known, run: PlannedRun, progress: Progress) -> None:
    """Send the steps that MLflow does not have, and the end of a run that has ended once all the rest has arrived.

    After any error call this function again: nothing is lost, and nothing is shown twice.
    """
    if known.state == "stopped" and progress.ended != "stopped":
        _take_up(client, known)
    if not (progress.steps or progress.ended):
        return
    last = _last_point(client, known)[0] if known.step is None else known.step
    new = [row for row in progress.steps if row["step"] > last]
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
        known.end = _last_point(client, known)[1]
    _terminate(client, known, "FAILED")


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
    _terminate(client, known, STATUS[ended])
    known.state = "stopped" if ended == "stopped" else "ended"


def _terminate(client: Any, known: Known, status: str) -> None:
    """End the run at the time of its last step. A run cannot end before it began: its clock may have been set back."""
    known.end = max(known.begin, known.end or known.begin)
    client.set_terminated(known.id, status, known.end)


def _take_up(client: Any, known: Known) -> None:
    """Let a run that was stopped go on, because it is being trained to its end."""
    for tag in ("reason", "status"):  # the status last: a driver that goes on after a crash looks at the status
        if tag in client.get_run(known.id).data.tags:
            client.delete_tag(known.id, tag)
    client.update_run(known.id, status="RUNNING")
    known.state = "open"


def _last_point(client: Any, known: Known) -> tuple[int, int | None]:
    """Ask MLflow for the last step that it has, and the step's time (ms); `NO_STEP` and None without a step."""
    history = client.get_metric_history(known.id, LAST)
    return max(((point.step, point.timestamp) for point in history), default=(NO_STEP, None))
