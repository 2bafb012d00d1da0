"""The commits between which to look are known only where the code changed and both commits are known."""

from __future__ import annotations

import pytest

from orchestrator.verdict.culprit import commits_of
from orchestrator.verdict.verdict import Change


def change(what: str, before: str | None, after: str | None) -> Change:
    return Change(what, what, before, after, "2026-11-28")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "commits"),
    [
        ([], None),
        ([change("code", "x", "y")], None),
        ([change("version", "1", "2"), change("commit", "a", "b")], ("a", "b")),
        ([change("commit", "a", "b with changes")], ("a", "b")),
        ([change("commit", "a", "a with changes")], None),
        ([change("commit", None, "b")], None),
    ],
)
def test_commits_are_known_only_where_both_are(changes: list[Change], commits: tuple[str, str] | None) -> None:
    assert commits_of(changes) == commits
