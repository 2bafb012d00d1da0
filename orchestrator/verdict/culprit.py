"""Pure: between which commits to look for the change that made a night worse."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.verdict.verdict import Change


def commits_of(changed: Sequence[Change]) -> tuple[str, str] | None:
    """Return the commits before and after a change of the code, without the mark of a checkout with changes.

    None if the commit did not change, or if one of the two is not known.
    """
    for change in changed:
        if change.what == "commit" and change.before and change.after:
            before, after = (commit.split(" ", 1)[0] for commit in (change.before, change.after))
            return (before, after) if before != after else None
    return None
