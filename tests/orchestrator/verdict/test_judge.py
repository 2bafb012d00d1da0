"""Verdicts on tables of nights: the same bytes, moved bits, a loss with its first night, its end, a second loss."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from orchestrator.verdict.judge import judge
from tests.helpers.night_tables import CELLS, RULES, WORLD, Story, day, night, of

LORA = ("arc", "lora")


def test_the_first_night_says_that_there_is_nothing_to_compare_with() -> None:
    verdict = Story().after()
    assert (verdict.status, verdict.baseline, verdict.counts["new"]) == ("within_noise", (), 4)
    assert verdict.line == "the first night of a baseline: 4 cells measured, nothing to compare with"


def test_equal_bytes_are_the_same_whatever_the_nights_own_seeds_bring() -> None:
    story = Story()
    story.after(count=8)
    unlucky = night(day(9))
    runs = [replace(one, right="0" * len(one.right)) if one.fresh else one for one in unlucky.runs]
    verdict = story.judge(replace(unlucky, runs=tuple(runs)))
    assert (verdict.status, story.confirmations) == ("same_bytes", 0)
    assert (verdict.evidence.p, verdict.evidence.e) == (None, None)
    assert (verdict.since, verdict.nights_in_row) == (day(2), 8)


def test_a_change_that_moves_bits_and_no_accuracy_is_called_that() -> None:
    story = Story()
    story.after(count=8)
    verdict = story.after("bits")
    assert (verdict.status, verdict.counts["moved"], verdict.counts["worse"]) == ("within_noise", 4, 0)
    assert verdict.line.startswith("within noise: bytes moved in 4 of 4 cells, by ")
    assert story.after("bits").status == "same_bytes"


def test_bytes_name_the_night_compared_with_and_the_first_run_that_differs() -> None:
    story = Story()
    story.after(count=2)
    tonight = night(day(3))
    runs = [replace(one, digest="other") if one.cell == LORA and one.seed == 1 else one for one in tonight.runs]
    verdict = story.judge(replace(tonight, runs=tuple(runs)))
    cell = next(cell for cell in verdict.cells if cell.cell == LORA)
    assert (cell.bytes.equal, cell.bytes.against, cell.bytes.run, cell.bytes.comparable) == (False, day(2), 1, True)
    assert verdict.counts["moved"] == 1
    assert verdict.evidence.joined_over == 1
    assert [cell.p is None for cell in verdict.cells] == [True, False, True, True]  # equal bytes are no test


def test_a_loss_is_worse_from_its_first_night_on_with_a_culprit() -> None:
    story = Story()
    story.after(count=6)
    guilty = replace(WORLD, commit="abc2", code="code2", versions={"torch": "2.14"})
    verdict = story.after("bug", loss={LORA: 12.0}, world=guilty)
    assert (verdict.status, verdict.since, verdict.last_good) == ("worse", day(7), day(6))
    assert [cell.cell for cell in verdict.cells if cell.status == "worse"] == [LORA]
    culprit = verdict.culprit
    assert culprit is not None
    assert (culprit.task, culprit.method, culprit.first_bad, culprit.last_good) == (*LORA, day(7), day(6))
    assert [(one.what, one.before, one.after) for one in culprit.changed] == [
        ("commit", "abc1", "abc2"),
        ("code", "code1", "code2"),
        ("version", "2.13", "2.14"),
    ]
    assert len(culprit.flips) == 20
    assert all(flip.after < flip.before for flip in culprit.flips)
    assert verdict.confirmed is not None
    assert (verdict.confirmed.holds, verdict.confirmed.seeds) == (True, 5)
    assert verdict.is_bad
    later = story.after("bug", loss={LORA: 12.0}, world=replace(guilty, commit="abc3"), count=2)
    assert (later.status, later.since, later.nights_in_row) == ("worse", day(7), 3)
    assert later.culprit is not None
    assert [one.what for one in later.culprit.changed] == ["code", "version"]
    assert story.confirmations == 1


def test_the_bytes_of_the_baseline_end_a_loss_and_leave_the_baseline_sound() -> None:
    story = Story()
    story.after(count=5)
    story.after("bug", loss=8.0, count=2)
    verdict = story.after("a")
    assert (verdict.status, verdict.counts["better"]) == ("better", 4)
    assert verdict.baseline == tuple(day(n) for n in range(1, 6))
    after = story.after("a")
    assert (after.status, len(after.baseline)) == ("same_bytes", 6)


def test_a_loss_ends_under_new_bytes_only_if_tonight_is_shown_to_be_better_than_the_bad_nights() -> None:
    story = Story()
    for n in range(8):
        story.after(f"good{n}")
    story.after("bug", loss=8.0, count=2)
    assert story.after("bug moved", loss=8.0).status == "worse"
    assert story.verdicts[-1].since == day(9)
    assert story.after("mended", loss=0.0).status == "better"
    assert story.statuses.count("worse") == 3


def test_a_second_loss_on_top_of_the_first_is_a_new_candidate_and_a_new_state() -> None:
    story = Story()
    story.after(count=6)
    story.after("bug", loss=8.0, count=3)
    verdict = story.after("two bugs", loss=20.0)
    assert (verdict.status, verdict.since, story.confirmations) == ("worse", day(10), 2)
    assert story.after("a").status == "better"


def test_a_loss_that_tonights_seeds_missed_is_dated_with_the_night_on_which_the_bytes_moved() -> None:
    story = Story()
    story.after(count=20)
    story.after("slow", loss=2.5)
    while story.verdicts[-1].status != "worse" and len(story.nights) < 40:
        story.after("slow", loss=2.5)
    verdict = story.verdicts[-1]
    assert (verdict.status, verdict.since) == ("worse", day(21))
    if len(story.nights) > 21:
        assert verdict.evidence.e is not None
        assert verdict.evidence.e >= RULES.candidate_e


def test_an_accepted_loss_is_the_new_level() -> None:
    story = Story()
    story.after(count=6)
    story.after("bug", loss=8.0, count=2)
    story.accepted = [day(8)]
    verdict = story.after("bug", loss=8.0)
    assert (verdict.status, verdict.baseline) == ("same_bytes", (day(8),))
    assert story.after("a").status == "better"


def test_a_gain_is_confirmed_too_and_not_told_as_a_loss() -> None:
    story = Story()
    story.after(count=8)
    verdict = story.after("gain", loss=-8.0)
    assert (verdict.status, verdict.counts["better"], story.confirmations) == ("better", 4, 1)
    assert not verdict.is_bad
    assert story.after("gain", loss=-8.0).status == "same_bytes"


def test_an_incomplete_night_judges_no_model_and_says_what_is_missing() -> None:
    story = Story()
    story.after(count=3)
    verdict = story.judge(replace(night(day(4), "bug", 20.0), broken="the base could not be scored on arc"))
    assert (verdict.status, verdict.line) == ("incomplete", "incomplete: the base could not be scored on arc")
    assert verdict.is_bad
    assert all(cell.difference is None for cell in verdict.cells)


def test_a_loss_stands_through_an_incomplete_night() -> None:
    story = Story()
    story.after(count=5)
    story.after("bug", loss=8.0)
    story.judge(replace(night(day(7), "bug", 8.0), broken="no space"))
    verdict = story.after("bug", loss=8.0)
    assert (verdict.status, verdict.since) == ("worse", day(6))


def test_one_fixed_seed_and_no_fresh_ones_is_judged_by_items_and_says_so() -> None:
    story = Story()
    for n in range(1, 6):
        story.judge(_only_one(day(n), "a", 0.0))
    verdict = judge(story.nights, _only_one(day(6), "bug", 12.0), RULES)
    assert verdict.wants is not None
    assert verdict.notes == ("one fixed seed: the paired test is about items alone, not about other seeds",)
    assert verdict.evidence.e is None


def _only_one(name: str, word: str, loss: float):  # type: ignore[no-untyped-def]
    whole = night(name, word, loss)
    return replace(whole, runs=tuple(one for one in whole.runs if one.seed == 0))


def test_a_verdict_has_the_keys_of_night_json_and_is_pure() -> None:
    story = Story()
    story.after(count=4)
    tonight = night(day(5), "bits")
    one, other = judge(story.nights, tonight, RULES), judge(story.nights, tonight, RULES)
    assert one == other
    keys = asdict(one)
    assert {
        "status",
        "line",
        "counts",
        "changed",
        "cells",
        "anchors",
        "confirmed",
        "culprit",
        "evidence",
    } <= keys.keys()
    assert keys["counts"]["cells"] == 4
    assert keys["cells"][0].keys() >= {
        "task", "method", "status", "accuracy", "baseline", "difference", "interval", "p", "nights_in_row",
        "first_bad", "bytes", "flips", "flips_lost", "flips_won", "seconds",
    }  # fmt: skip
    assert keys["evidence"].keys() == {"p", "e", "threshold_p", "threshold_e", "joined_over"}


@pytest.mark.parametrize("cell", CELLS)
def test_a_loss_in_any_one_cell_names_that_cell(cell: tuple[str, str]) -> None:
    story = Story()
    story.after(count=6)
    verdict = story.after("bug", loss={cell: 15.0})
    assert verdict.status == "worse"
    assert of(verdict, cell) == "worse"


@pytest.mark.parametrize(("name", "value", "status"), [("base", "b", "ruler_moved"), ("settings", "s", "within_noise")])
def test_a_loss_that_nothing_is_comparable_with_any_more_does_not_vanish_silently(
    name: str, value: str, status: str
) -> None:
    story = Story()
    story.after(count=4)
    story.after("bug", loss=8.0, count=2)
    verdict = story.after("bug", loss=8.0, world=replace(WORLD, **{name: value}))
    assert verdict.status == status
    assert verdict.notes == (f"the loss since {day(5)} is judged no further: tonight is not comparable with it",)


def test_bytes_of_an_older_night_of_the_baseline_are_the_same_bytes() -> None:
    story = Story()
    story.after("a", count=3)
    story.after("b", count=2)
    verdict = story.after("a")
    assert (verdict.status, verdict.cells[0].bytes.against) == ("same_bytes", day(3))
