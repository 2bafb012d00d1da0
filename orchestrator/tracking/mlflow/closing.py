"""End what MLflow shows as running and nobody trains, and take a run up again that goes on."""

from __future__ import annotations

from typing import Any

from orchestrator.tracking.mlflow.entries import KILLED, NO_STEP, RUNNING, Known, Parent, state_of
from orchestrator.tracking.mlflow.ledger import Ledger

LAST = "tokens"  # the metric that is sent last of a step: if MLflow has it, MLflow has the whole step


def close_runs(client: Any, ledger: Ledger) -> None:
    """End the runs and groups that MLflow shows as running: a run as it ended, or as KILLED; a group as KILLED.

    They end at the time of their last step. The sweep's own run stays as it is.
    """
    for known in ledger.running():
        if known.end is None and known.step != NO_STEP:
            known.end = last_point(client, known)[1]
        terminate(client, known, known.last_status or KILLED)
        if known.state == "open":
            known.state = "interrupted" if known.last_status is None else state_of(known.last_status)
    for group, parent in ledger.running_groups():
        end_parent(client, parent, KILLED, ledger.last_end(group))


def close_sweep(client: Any, ledger: Ledger) -> None:
    """End the sweep's own run as KILLED, at the end of its last run, where MLflow shows it as running."""
    parent = ledger.running_sweep()
    if parent is not None:
        end_parent(client, parent, KILLED, ledger.last_end())


def terminate(client: Any, known: Known, status: str) -> None:
    """End a run at the time of its last step. A run cannot end before it began: its clock may have been set back."""
    known.end = max(known.begin, known.end or known.begin)
    client.set_terminated(known.id, status, known.end)
    known.status = status


def end_parent(client: Any, parent: Parent, status: str, end: int | None) -> None:
    """End a parent when its last run ended (ms); a parent without a run has no duration."""
    client.set_terminated(parent.id, status, max(parent.begin, end or parent.begin))
    parent.status = status


def take_up(client: Any, ledger: Ledger, known: Known) -> None:
    """Let a run that was stopped or broken off go on, because it is being trained again; and its group with it."""
    if known.state == "stopped":
        for tag in ("reason", "status"):  # the status last: a driver that goes on after a crash looks at the status
            if tag in client.get_run(known.id).data.tags:
                client.delete_tag(known.id, tag)
    client.update_run(known.id, status=RUNNING)
    known.state, known.status, known.last_status = "open", RUNNING, None
    ledger.wake(*known.group)


def last_point(client: Any, known: Known) -> tuple[int, int | None]:
    """Ask MLflow for the last step that it has, and the step's time (ms); `NO_STEP` and None without a step."""
    history = client.get_metric_history(known.id, LAST)
    return max(((point.step, point.timestamp) for point in history), default=(NO_STEP, None))
