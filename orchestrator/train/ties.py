"""Pure: which choice counts as predicted where several share the best score, and how that is told."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from orchestrator.data.tokens import Item


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
