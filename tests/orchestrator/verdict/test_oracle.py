"""A candidate of a bisection is good or bad by its bytes, else by its answers on the same items and seeds."""

from __future__ import annotations

import json

import pytest

from orchestrator.verdict.oracle import Tried, TriedRun, ends_of, mark_of, marks_of


def tried(name: str, *rights: str, status: str = "committed") -> Tried:
    return Tried(tuple(TriedRun(seed, status, f"{name}-{seed}", right) for seed, right in enumerate(rights)))


def right(share: int, of: int = 20, turn: int = 0) -> str:
    """Return answers of which so many are right; ``turn`` moves the wrong ones."""
    text = "1" * share + "0" * (of - share)
    return text[turn:] + text[:turn]


GOOD, BAD = tried("good", right(18), right(18)), tried("bad", right(8), right(8))


def test_a_bad_end_that_is_worse_is_told_from_one_that_only_moved_bits() -> None:
    ends = ends_of(GOOD, BAD)
    assert (ends.kind, ends.difference) == ("accuracy", -0.5)
    assert ends.p is not None
    assert ends.p < 0.001
    assert "the bad end is worse: \u221250.00 points" in ends.line
    moved = ends_of(GOOD, tried("moved", right(18), right(17)))
    assert (moved.kind, moved.p) == ("bits", 0.5)
    assert "the change of bytes is sought" in moved.line
    assert ends_of(GOOD, GOOD).kind == "none"


def test_bytes_decide_before_answers() -> None:
    ends = ends_of(GOOD, BAD)
    assert mark_of(GOOD, ends)[0] == "good"
    assert mark_of(BAD, ends)[0] == "bad"
    same_bytes = tried("good", right(0), right(0))  # cannot be, but the bytes are what is asked first
    assert mark_of(same_bytes, ends) == ("good", "the bytes of the good end")


@pytest.mark.parametrize(
    ("one", "other", "mark", "words"),
    [
        (18, 17, "good", "not worse"),  # a harmless change: other bits, no accuracy
        (9, 8, "bad", "worse"),
        (0, 0, "bad", "worse"),
        (14, 13, "good", "nearer"),  # the tests say both: worse than good, better than bad
        (12, 11, "bad", "nearer"),
    ],
)
def test_other_bytes_are_judged_by_answers(one: int, other: int, mark: str, words: str) -> None:
    got, why = mark_of(tried("else", right(one), right(other)), ends_of(GOOD, BAD))
    assert got == mark
    assert words in why


def test_where_bits_are_sought_any_other_bits_are_bad() -> None:
    ends = ends_of(GOOD, tried("moved", right(18), right(17)))
    assert mark_of(tried("third", right(18), right(18)), ends) == ("bad", "other bytes than the good end")


def test_a_candidate_without_results_is_skipped_and_says_why() -> None:
    assert mark_of(Tried((), "it ended with 2"), ends_of(GOOD, BAD)) == ("skip", "it ended with 2")


def test_divergence_is_bad() -> None:
    broke = tried("broke", "", "", status="diverged")
    ends = ends_of(GOOD, broke)
    assert ends.kind == "accuracy"
    assert mark_of(tried("other", "", "", status="diverged"), ends) == ("bad", "2 runs diverged")
    assert mark_of(tried("fine", right(18), right(17)), ends)[0] == "good"


def test_other_items_are_no_comparison() -> None:
    assert mark_of(tried("other", right(9, of=10), right(9, of=10)), ends_of(GOOD, BAD)) == (
        "skip",
        "its items are others",
    )


def test_marks_wait_for_both_ends_and_equal_ends_end_the_search() -> None:
    assert marks_of(9, {})[0] == {}
    assert marks_of(9, {8: BAD}) == ({8: "bad"}, {8: "the bad end"}, None)
    assert marks_of(9, {8: Tried((), "no"), 0: GOOD})[0] == {8: "skip", 0: "good"}
    marks, whys, ends = marks_of(9, {8: BAD, 0: GOOD, 4: tried("x", right(18), right(18)), 6: Tried((), "broke")})
    assert marks == {8: "bad", 0: "good", 4: "good", 6: "skip"}
    assert whys[6] == "broke"
    assert ends is not None
    marks, whys, _ = marks_of(9, {8: GOOD, 0: GOOD})
    assert marks == {0: "good", 8: "good"}
    assert whys[8] == "both ends have the same bytes"


def test_what_was_tried_survives_a_file() -> None:
    assert Tried.of_json(json.loads(json.dumps(GOOD.as_json() | {"label": "x"}))) == GOOD
