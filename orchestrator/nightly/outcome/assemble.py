"""Gather what stands beside a night's verdict, from the files of this night and of the nights before it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.nightly import commands
from orchestrator.nightly.confirm import Confirmation
from orchestrator.nightly.frontier import Renewal
from orchestrator.nightly.items import item_texts
from orchestrator.nightly.measure import Measured
from orchestrator.nightly.outcome.night_json import Beside, night_json
from orchestrator.nightly.record import Losses, read_losses
from orchestrator.nightly.tonight import Tonight
from orchestrator.prices.table import worker_price
from orchestrator.store.nights_folder import CANARY
from orchestrator.verdict.night import Night
from orchestrator.verdict.verdict import Verdict


def assemble(
    tonight: Tonight,
    earlier: Sequence[Night],
    measured: Measured,
    verdict: Verdict,
    confirmation: Confirmation | None,
    renewal: Renewal,
    seconds: float,
) -> dict[str, Any]:
    """Return the content of ``night.json``, but for who was told; ``seconds`` is how long the night took."""
    spec, command, name = tonight.spec, tonight.command, tonight.folder.name
    first = {run.cell: run.run_key for run in reversed(measured.night.runs) if not run.fresh}
    rows = [*measured.rows, *(confirmation.rows if confirmation else ())]
    trained = sum(row.get("train_seconds") or 0.0 for row in rows) + renewal.seconds
    beside = Beside(
        name=spec.name,
        nights=[*earlier, measured.night],
        losses=measured.losses,
        losses_of=_losses_of(tonight, verdict),
        questions=_questions(tonight, verdict),
        cell_commands={cell: commands.repeat_command(command, spec, tonight.folder, cell) for cell in first},
        links={cell: f"{CANARY}/runs/{key}/" for cell, key in first.items()},
        commands={
            "again": commands.night_command(command, name),
            "bisect": _bisect(command, verdict),
            "roll_back": _roll_back(command, renewal),
            "accept": commands.accept_command(command, spec, name) if verdict.status == "worse" else None,
        },
        cost=_cost(tonight, seconds, trained),
        faults=measured.faults,
    )
    return night_json(verdict, renewal, beside)


def _losses_of(tonight: Tonight, verdict: Verdict) -> dict[str, Losses]:
    names = {cell.bytes.against for cell in verdict.cells if cell.bytes.against and cell.bytes.equal is False}
    return {name: read_losses(tonight.nights.night(name)) for name in names}


def _questions(tonight: Tonight, verdict: Verdict) -> dict[str, dict[int, str]]:
    """Return the texts of the items that flipped, by task and index."""
    wanted: dict[str, set[int]] = {}
    for cell in verdict.cells:
        wanted.setdefault(cell.task, set()).update(flip.index for flip in cell.flips)
    files, base = tonight.ready.data_files, tonight.ready.base.path
    return {task: item_texts(base, Path(files[task]), indices) for task, indices in wanted.items() if indices}


def _bisect(command: str, verdict: Verdict) -> str | None:
    culprit = verdict.culprit
    return commands.bisect_command(command, (culprit.task, culprit.method), culprit.changed) if culprit else None


def _roll_back(command: str, renewal: Renewal) -> str | None:
    """Return the command that takes back the first champion that has moved tonight; None if none has."""
    moved = [decision.task for decision in renewal.champions if decision.decision == "moved"]
    return commands.roll_back_command(command, moved[0]) if moved else None


def _cost(tonight: Tonight, seconds: float, trained: float) -> dict[str, float | None]:
    """Return the seconds of the night and of its training, and the price of that training where it is known."""
    cluster = tonight.spec.cluster
    price = worker_price(cluster)
    usd = None if price is None else round(trained * cluster.workers / 3600 * price.usd, 4)
    return {"seconds": round(seconds, 3), "train_seconds": round(trained, 3), "usd": usd}
