"""How many test answers were exact ties, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.wording import count


def told_ties(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return in one sentence how many test answers of the committed runs were exact ties, if any were."""
    ties = [int(row.get("ties") or 0) for row in rows if row["status"] == "committed"]
    if not any(ties):
        return []
    return [
        f"{count(sum(ties), 'test answer')} of {count(sum(map(bool, ties)), 'run')} had several choices with exactly "
        "the best score; a draw that is the same for every run took one of them."
    ]
