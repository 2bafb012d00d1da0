"""Pure: the content of ``night.json``, from the verdict and all that stands beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestrator.nightly.frontier import Renewal
from orchestrator.nightly.outcome.steps import Losses, with_steps
from orchestrator.nightly.record import OVER
from orchestrator.verdict.night import Cell, Night
from orchestrator.verdict.trend import lines_of
from orchestrator.verdict.verdict import CellVerdict, Verdict

MEASURES = {"accuracy": "accuracy", "seconds": "seconds", "bytes": "memory"}
"""The measures of a verdict's trend, by the names that the pages have for them."""


@dataclass(frozen=True)
class Beside:
    """What stands beside a verdict in ``night.json``.

    ``nights`` are all nights, tonight the last. ``losses`` are tonight's, ``losses_of`` those of the nights that cells
    are compared with. ``questions`` has the texts of test items by task and index; ``cell_commands`` and ``links`` are
    by cell. ``faults`` are lines on runs that failed.
    """

    name: str
    nights: Sequence[Night]
    losses: Losses
    losses_of: Mapping[str, Losses]
    questions: Mapping[str, Mapping[int, str]]
    cell_commands: Mapping[Cell, str]
    links: Mapping[Cell, str]
    commands: Mapping[str, str | None]
    cost: Mapping[str, float | None]
    faults: Sequence[str] = field(default=())


def night_json(verdict: Verdict, renewal: Renewal, beside: Beside) -> dict[str, Any]:
    """Return the content, but for who was told."""
    night = beside.nights[-1]
    cells = [_cell(cell, beside) for cell in verdict.cells]
    return {
        "night": verdict.night,
        "name": beside.name,
        "verdict": verdict.status,
        "line": verdict.line,
        "since": verdict.since,
        "nights_in_row": verdict.nights_in_row,
        "broken": "; ".join(part for part in (verdict.why, *beside.faults) if part),
        "counts": dict(verdict.counts),
        "changed": [asdict(change) for change in verdict.changed],
        "cells": cells,
        "anchors": [asdict(anchor) for anchor in verdict.anchors],
        "confirmed": None if verdict.confirmed is None else asdict(verdict.confirmed),
        "culprit": _culprit(verdict, cells, beside),
        "evidence": asdict(verdict.evidence),
        "baseline": list(verdict.baseline),
        "last_good": verdict.last_good,
        "notes": list(verdict.notes),
        "frontier": renewal.content(),
        "champions": [decision.as_json() for decision in renewal.champions],
        "cost": dict(beside.cost),
        "told": None,
        "series": _series(night),
        "commands": dict(beside.commands),
        "status": OVER,
    }


def _cell(cell: CellVerdict, beside: Beside) -> dict[str, Any]:
    """Return a cell with its steps, its questions, its levels, its memory, its command and its link."""
    against, texts = cell.bytes.against, beside.questions.get(cell.task, {})
    before = beside.losses_of.get(against, {}) if against else {}
    lines = {MEASURES[line.measure]: line for line in lines_of(beside.nights, cell.cell)}
    return asdict(cell) | {
        "bytes": asdict(with_steps(cell.bytes, cell.cell, before, beside.losses)),
        "flips": _flips(cell.flips, texts),
        "memory": lines["memory"].values[-1],
        "change_points": {measure: list(line.changed) for measure, line in lines.items()},
        "command": beside.cell_commands.get(cell.cell),
        "link": beside.links.get(cell.cell),
    }


def _culprit(verdict: Verdict, cells: Sequence[Mapping[str, Any]], beside: Beside) -> dict[str, Any] | None:
    culprit = verdict.culprit
    if culprit is None:
        return None
    own = next((cell for cell in cells if (cell["task"], cell["method"]) == (culprit.task, culprit.method)), {})
    return asdict(culprit) | {
        "flips": _flips(culprit.flips, beside.questions.get(culprit.task, {})),
        "flips_lost": own.get("flips_lost"),
        "flips_won": own.get("flips_won"),
        "command": own.get("command"),
        "bisect": beside.commands.get("bisect"),
    }


def _flips(flips: Sequence[Any], texts: Mapping[int, str]) -> list[dict[str, Any]]:
    return [asdict(flip) | {"question": texts.get(flip.index, flip.question)} for flip in flips]


def _series(night: Night) -> dict[str, Any]:
    """Return what a number of tonight is comparable under, in words of the page."""
    world = night.world
    return {
        "machine": world.machine,
        "commit": world.commit,
        "code": world.code,
        "versions": dict(world.versions),
        "base": world.base,
        "rows": dict(world.rows),
        "settings": world.settings,
    }
