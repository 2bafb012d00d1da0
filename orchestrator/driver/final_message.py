"""What a sweep says when it ends: the headline, the champions, what failed and where to look."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestrator.addresses import SERVERS, without_secrets
from orchestrator.recipe.seeds import seed_words
from orchestrator.recipe.spec import SweepSpec
from orchestrator.say import say
from orchestrator.store.run_folder import DONE
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.tracking.sqlite_address import absolute

Row = Mapping[str, Any]


def tell(
    spec: SweepSpec,
    folder: Path,
    rows: Sequence[Row],
    summary: Row,
    champions: Mapping[str, Row],
    problems: Sequence[str],
    *,
    console: Console,
) -> None:
    """Print it, a line a fact."""
    lines = ["", str(summary["headline"])]
    lines += [_champion(task, one) for task, one in champions.items()]
    lines += [_failure(row, folder) for row in rows if row["status"] not in DONE]
    lines += [f"  {problem}" for problem in problems]
    lines.append(f"report: {SweepFolder(folder).report}")
    if spec.tracking.uri != "none":
        lines.append(f"runs:   {pages_of(spec.tracking.uri)}")
    for line in lines:
        say(console, without_secrets(line))


def pages_of(address: str) -> str:
    """Return where MLflow's pages are: a server's address, or the command that shows a database, for a shell."""
    if address.startswith(SERVERS) or address.startswith("databricks"):
        return without_secrets(address)
    return shlex.join(["mlflow", "ui", "--backend-store-uri", without_secrets(absolute(address))])


def run_name(row: Row) -> str:
    """Return a run's name for people."""
    seed = row["seed"]
    seeds = seed_words(seed, row.get("init_seed", seed), row.get("data_seed", seed))
    return f"{row['method']}, lr {row['lr']:g}, {seeds}"


def _champion(task: str, one: Row) -> str:
    before = "" if one["base_accuracy"] is None else f" (base {one['base_accuracy']:.3f})"
    return (
        f"  {task}: {run_name(one)}: {one['accuracy_merged']:.3f} merged{before}, "
        f"gap {one['gap_points']:+.2f} points, {one['item_flips']} flips -> {one['path']}"
    )


def _failure(row: Row, folder: Path) -> str:
    reason = (str(row.get("error", "")).strip().splitlines() or [""])[-1]
    return (
        f"  {row['status']}: {run_name(row)} on {row['task']}: {reason} "
        f"(details: {SweepFolder(folder).run(row['run_key']).error if row['status'] == 'failed' else folder})"
    )
