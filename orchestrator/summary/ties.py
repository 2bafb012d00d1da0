"""How many test answers were exact ties between choices, as a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.wording import count


def exact_ties(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence that counts the exact ties among the test answers of committed runs; none without ties.

    An exact tie is an item of which several choices have the best score to the last bit (``ties`` in a row).
    """
    ties = [int(row.get("ties") or 0) for row in rows if row["status"] == "committed"]
    if not any(ties):
        return []
    return [
        f"{count(sum(ties), 'test answer')} of {count(sum(map(bool, ties)), 'run')} had several choices with exactly "
        "the best score; a draw that is the same for every run took one of them."
    ]
