"""Pure: which choice counts as predicted where several share the best score, and how that is told."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.tokens import Item
from orchestrator.wording import count


def best_choice(scores: Sequence[float], item: Item) -> tuple[int, int]:
    """Return the choice with the best score, and how many choices share it.

    Among several the least sha256 over the item's tokens and the choice's number decides. So no place among the
    choices is favoured, and every run, rank, pack and merged model takes the same one.
    """
    best = max(scores)
    tied = [choice for choice, score in enumerate(scores) if score == best] or [0]  # none equals NaN
    return (tied[0] if len(tied) == 1 else min(tied, key=lambda choice: _draw(item, choice))), len(tied)


def _draw(item: Item, choice: int) -> bytes:
    return hashlib.sha256(repr((item.choices, item.starts, choice)).encode()).digest()


def told_ties(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return in one sentence how many test answers of the committed runs were exact ties, if any were."""
    ties = [int(row.get("ties") or 0) for row in rows if row["status"] == "committed"]
    if not any(ties):
        return []
    return [
        f"{count(sum(ties), 'test answer')} of {count(sum(map(bool, ties)), 'run')} had several choices with exactly "
        "the best score; a draw that is the same for every run took one of them."
    ]
