"""Remove the half-written files that killed processes have left in a run's folder."""

from __future__ import annotations

from pathlib import Path

from orchestrator.files import DRAFT


def remove_drafts(run: Path) -> int:
    """Remove the drafts below a run's folder; return how many there were.

    Call it where no trainer of this sweep works. A trainer that was given up, and still writes, fails to write, which
    is no loss: its attempt is over.
    """
    drafts = list(run.rglob(f"{DRAFT}*"))
    for draft in drafts:
        draft.unlink(missing_ok=True)
    return len(drafts)
