"""Pure: the suspect of a bad night: the cell that lost most surely, since when, and what changed under it since."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from orchestrator.verdict.verdict import CellVerdict, Change, Culprit

WORST_FIRST = ("worse", "broken", "suspected")
"""The statuses of a cell that may be the culprit of a night that is worse; the first of them counts first."""


def culprit_of(cells: Sequence[CellVerdict], changed: Sequence[Change], last_good: str | None) -> Culprit | None:
    """Return the culprit among the cells of a night; None if no cell is suspected.

    ``changed`` is all that changed since the night ``last_good``. Of several cells of the worst status the one with the
    smallest p is the culprit, then the one with the largest loss, then the first.
    """
    suspects = [cell for cell in cells if cell.status in WORST_FIRST]
    if not suspects:
        return None
    cell = min(suspects, key=_rank)
    return Culprit(
        task=cell.task,
        method=cell.method,
        first_bad=cell.first_bad or "",
        last_good=last_good,
        changed=tuple(changed),
        flips=cell.flips,
    )


def commits_of(changed: Sequence[Change]) -> tuple[str, str] | None:
    """Return the commits before and after a change of the code, without the mark of a checkout with changes.

    None if the commit did not change, or if one of the two is not known.
    """
    for change in changed:
        if change.what == "commit" and change.before and change.after:
            before, after = (commit.split(" ", 1)[0] for commit in (change.before, change.after))
            return (before, after) if before != after else None
    return None


def as_json(culprit: Culprit, command: str, bisect: str | None) -> dict[str, Any]:
    """Return ``culprit`` of ``night.json``: ``command`` repeats the cell, ``bisect`` looks for the first bad change."""
    return asdict(culprit) | {"command": command, "bisect": bisect}


def _rank(cell: CellVerdict) -> tuple[int, float, float]:
    p = math.inf if cell.p is None else cell.p
    return WORST_FIRST.index(cell.status), p, cell.difference or 0.0
