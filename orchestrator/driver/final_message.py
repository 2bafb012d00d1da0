"""The message that a sweep prints when it ends: headline, champions, failed runs, and where report and runs are."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator import objects
from orchestrator.addresses import SERVERS, without_secrets
from orchestrator.plan.budget import left_out
from orchestrator.recipe.seeds import seed_words
from orchestrator.store.rows import DONE
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.tracking.sqlite_address import absolute
from orchestrator.wording import count

Row = Mapping[str, Any]


def final_message(
    folder: SweepFolder,
    tracking: str,
    rows: Sequence[Row],
    summary: Row,
    champions: Mapping[str, Row],
    problems: Sequence[str],
) -> list[str]:
    """Return the lines of the message, one per fact.

    ``tracking`` is the tracker's address or "none"; ``champions`` are the evaluations of sound champions by task;
    ``problems`` are whole sentences.
    """
    lines = ["", str(summary["headline"])]
    lines += [_champion(task, evaluation) for task, evaluation in champions.items()]
    lines += _failures([row for row in rows if row["status"] not in DONE], folder)
    lines += [f"  {problem}" for problem in problems]
    lines.append(f"report: {folder.report}")
    if address := objects.address_of(folder.path):
        lines.append(f"store:  {address}")
    if tracking != "none":
        lines.append(f"runs:   {pages_of(tracking)}")
    return lines


def pages_of(address: str) -> str:
    """Return where MLflow's pages are: the server's address, or the shell command that serves a local database."""
    if address.startswith(SERVERS) or address.startswith("databricks"):
        return without_secrets(address)
    return shlex.join(["mlflow", "ui", "--backend-store-uri", without_secrets(absolute(address))])


def run_name(row: Row) -> str:
    """Return the name of a run as people read it: its method, rate and seeds."""
    seed = row["seed"]
    seeds = seed_words(seed, row.get("init_seed", seed), row.get("data_seed", seed))
    return f"{row['method']}, lr {row['lr']:g}, {seeds}"


def _champion(task: str, evaluation: Row) -> str:
    base = evaluation["base_accuracy"]
    before = "" if base is None else f" (base {base:.3f})"
    return (
        f"  {task}: {run_name(evaluation)}: {evaluation['accuracy_merged']:.3f} merged{before}, "
        f"gap {evaluation['gap_points']:+.2f} points, {evaluation['item_flips']} flips -> {evaluation['path']}"
    )


def _failures(rows: Sequence[Row], folder: SweepFolder) -> list[str]:
    """Return a line per run that has no result; one line for all runs that a budget has left out."""
    unpaid = [str(row["error"]) for row in rows if left_out([str(row.get("error", ""))])]
    lines = [_failure(row, folder) for row in rows if not left_out([str(row.get("error", ""))])]
    return lines + ([f"  {count(len(unpaid), 'run')} {unpaid[0]}"] if unpaid else [])


def _failure(row: Row, folder: SweepFolder) -> str:
    reason = (str(row.get("error", "")).strip().splitlines() or [""])[-1]
    details = folder.run(row["run_key"]).error if row["status"] == "failed" else folder.path
    return f"  {row['status']}: {run_name(row)} on {row['task']}: {reason} (details: {details})"
