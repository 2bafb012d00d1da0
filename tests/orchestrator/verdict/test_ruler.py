"""The ruler: an unchanged model that scores otherwise, another base, other rows; and new bits, which move no ruler."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.verdict.night import World
from tests.helpers.night_tables import RULES, WORLD, Story, anchor, day, night


def _story() -> Story:
    story = Story()
    story.after(count=4)
    return story


@pytest.mark.parametrize(
    ("world", "words"),
    [
        (replace(WORLD, base="base2"), "the base has another fingerprint"),
        (replace(WORLD, rows={"arc": "new", "boolq": "rows2"}), "the rows of arc have another fingerprint"),
    ],
)
def test_another_base_or_other_rows_move_the_ruler(world: World, words: str) -> None:
    verdict = _story().after("b", loss=20.0, world=world)
    assert (verdict.status, verdict.why) == ("ruler_moved", words)
    assert words in verdict.line
    assert not verdict.is_bad


@pytest.mark.parametrize("kind", ["base", "champion"])
def test_scores_that_moved_by_more_than_a_twentieth_of_a_nat_move_the_ruler(kind: str) -> None:
    story = Story()
    for n in (1, 2):
        story.judge(night(day(n), anchors=(anchor(kind),)))
    verdict = story.judge(night(day(3), anchors=(anchor(kind, shift=0.06),)))
    assert verdict.status == "ruler_moved"
    assert f"the unchanged {kind} scores arc otherwise" in verdict.why
    assert verdict.anchors[0].median_score_change == pytest.approx(0.06)


def test_scores_that_moved_up_for_half_the_items_and_down_for_the_others_move_the_ruler() -> None:
    story = _story()
    one = anchor()
    tilted = replace(one, scores=[score + (0.2 if i % 2 else -0.2) for i, score in enumerate(one.scores)])
    assert story.judge(night(day(5), anchors=(tilted,))).status == "ruler_moved"


def test_new_bits_that_flip_a_near_tie_move_no_ruler() -> None:
    story = _story()
    flipped = "1" * 59 + "0" * 41
    verdict = story.judge(night(day(5), anchors=(anchor(right=flipped, shift=1e-5),)))
    assert (verdict.status, verdict.anchors[0].flips, verdict.anchors[0].moved) == ("same_bytes", 1, False)


def test_many_flips_in_one_direction_move_the_ruler_though_scores_hardly_moved() -> None:
    story = _story()
    verdict = story.judge(night(day(5), anchors=(anchor(right="1" * 40 + "0" * 60),)))
    assert verdict.status == "ruler_moved"
    assert 2 * 0.5**20 < RULES.candidate_p < 2 * 0.5**10  # twenty losses and no win; ten would not have done


def test_few_flips_of_many_items_move_no_ruler_even_if_all_are_losses() -> None:
    """15 of 2,000 items: 2 * 0.5^15 is far below the level, but less than 1 % flipped."""
    story = Story()
    story.judge(night(day(1), anchors=(anchor(right="1" * 1000 + "0" * 1000),)))
    verdict = story.judge(night(day(2), anchors=(anchor(right="1" * 985 + "0" * 1015),)))
    assert (verdict.status, verdict.anchors[0].flips) == ("same_bytes", 15)


def test_another_champion_is_no_moved_ruler() -> None:
    story = Story()
    story.judge(night(day(1), anchors=(anchor("champion", "run 1"),)))
    verdict = story.judge(night(day(2), anchors=(anchor("champion", "run 2", right="0" * 100, shift=1.0),)))
    assert (verdict.status, verdict.anchors[0].before, verdict.anchors[0].moved) == ("same_bytes", 0.6, False)


def test_the_night_of_a_moved_ruler_begins_a_baseline() -> None:
    story = _story()
    other = replace(WORLD, base="base2")
    story.after("b", world=other)
    verdict = story.after("b", world=other)
    assert (verdict.status, verdict.baseline) == ("same_bytes", (day(5),))


def test_an_incomplete_night_between_hides_no_moved_ruler() -> None:
    story = _story()
    other = replace(WORLD, base="base2")
    story.judge(replace(night(day(5), world=other), broken="no anchors"))
    assert story.after("b", world=other).status == "ruler_moved"
