"""Pure: which choice counts as predicted if several choices share the best score."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from orchestrator.data.tokens import Item


def best_choice(scores: Sequence[float], item: Item) -> tuple[int, int]:
    """Return the number of the choice with the best score, and how many choices share this score.

    Among tied choices the choice with the least sha256 over the item's tokens and its own number is taken. So no
    position among the choices is favoured, and every run, rank, pack and merged model takes the same choice.
    """
    best = max(scores)
    tied = [choice for choice, score in enumerate(scores) if score == best] or [0]  # no score equals a best of NaN
    return (tied[0] if len(tied) == 1 else min(tied, key=lambda choice: _draw(item, choice))), len(tied)


def _draw(item: Item, choice: int) -> bytes:
    return hashlib.sha256(repr((item.choices, item.starts, choice)).encode()).digest()
