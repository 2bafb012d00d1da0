"""The culprit of a night is the cell that lost most surely; its commits are those between which to look."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.verdict.culprit import as_json, commits_of, culprit_of
from orchestrator.verdict.verdict import Bytes, CellBaseline, CellVerdict, Change, Flip


def cell(task: str, status: str, p: float | None = None, difference: float = 0.0, **more: Any) -> CellVerdict:
    return CellVerdict(
        task, "lora", status, 0.5, CellBaseline(3, 0.6, None), difference, None, p, 1, more.pop("first_bad", None),  # type: ignore[arg-type]
        Bytes(equal=False), **more,
    )  # fmt: skip


def change(what: str, before: str | None, after: str | None, name: str = "") -> Change:
    return Change(what, name or what, before, after, "2026-11-28")  # type: ignore[arg-type]


def test_the_cell_with_the_smallest_p_is_the_culprit_and_a_confirmed_one_comes_first() -> None:
    cells = [cell("a", "suspected", 1e-9), cell("b", "worse", 0.01), cell("c", "worse", 0.001), cell("d", "unchanged")]
    assert culprit_of(cells, (), None).task == "c"  # type: ignore[union-attr]
    assert culprit_of(cells[:1], (), None).task == "a"  # type: ignore[union-attr]
    assert culprit_of(cells[3:], (), None) is None
    tied = [cell("a", "worse", 0.01, -0.02), cell("b", "worse", 0.01, -0.2), cell("c", "worse", None, -0.9)]
    assert culprit_of(tied, (), None).task == "b"  # type: ignore[union-attr]


def test_the_culprit_has_what_changed_since_the_last_good_night_and_the_items_that_flipped() -> None:
    flips = (Flip(3, 1.0, 0.0, "who? -> a / b (right: a)"),)
    changed = [change("commit", "a" * 40, "b" * 40), change("version", "2.12", "2.13", "torch")]
    culprit = culprit_of([cell("a", "worse", 0.01, first_bad="2026-11-27", flips=flips)], changed, "2026-11-26")
    assert culprit is not None
    written = as_json(culprit, "python jobs/sweep.py r.yaml", None)
    assert (written["first_bad"], written["last_good"], written["bisect"]) == ("2026-11-27", "2026-11-26", None)
    assert written["flips"][0] == {"index": 3, "before": 1.0, "after": 0.0, "question": "who? -> a / b (right: a)"}
    assert [each["name"] for each in written["changed"]] == ["commit", "torch"]


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
