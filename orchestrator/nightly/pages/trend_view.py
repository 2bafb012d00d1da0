"""Pure: what the trend page shows, from the rows of all nights and the newest ``night.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from orchestrator.nightly.history import was_told
from orchestrator.nightly.pages.panels import panels_of
from orchestrator.nightly.pages.series import cells_of
from orchestrator.nightly.words import VERDICTS
from orchestrator.wording import count

OPEN = 30
"""How many of the newest nights the table shows before older ones are opened."""


class Lane(NamedTuple):
    """The nights of one verdict: runs of neighbouring nights as (position, length), in nights."""

    verdict: str
    nights: int
    spans: list[tuple[int, int]]
    words: str


def trend_view(night: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the values of the template; ``rows`` are those of all nights, in order, and at least one."""
    tonight = {(cell["task"], cell["method"]): cell for cell in night.get("cells") or ()}
    table = [night_line(row) for row in reversed(rows)]
    return {
        "name": str(night.get("name") or "sweep"),
        "nights": len(rows),
        "first": str(rows[0]["night"]),
        "last": str(rows[-1]["night"]),
        "verdict": str(rows[-1]["verdict"]),
        "line": str(rows[-1].get("line") or ""),
        "told": sum(line["told"] for line in table),
        "lanes": [lane_of(verdict, rows) for verdict in VERDICTS],
        "panels": [panels_of(rows, cell, tonight.get(cell)) for cell in cells_of(rows)],
        "newest": table[:OPEN],
        "older": table[OPEN:],
    }


def night_line(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a night's row of the table, with all its keys."""
    keys = ("night", "verdict", "line", "since", "seconds", "e", "p")
    return {**{key: row.get(key) for key in keys}, "told": was_told(row.get("told"))}


def lane_of(verdict: str, rows: Sequence[Mapping[str, Any]]) -> Lane:
    """Return the lane of a verdict over all nights."""
    spans, position = [], 0
    for has, group in groupby(rows, key=lambda row: row["verdict"] == verdict):
        length = len(list(group))
        if has:
            spans.append((position, length))
        position += length
    nights = [str(row["night"]) for row in rows if row["verdict"] == verdict]
    words = f"{VERDICTS[verdict]}: {count(len(nights), 'night')}"
    return Lane(verdict, len(nights), spans, f"{words}, the last {nights[-1]}" if nights else words)
