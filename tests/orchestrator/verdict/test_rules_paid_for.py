"""The rules that other people's nights paid for (docs/nightly.md has the table), as far as they are the verdict's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orchestrator.recipe.nightly_section import NightlySpec
from orchestrator.verdict.judge import is_news, judge
from orchestrator.verdict.night import Night
from orchestrator.verdict.rules import CONFIRM_P, RETURNS, Rules
from tests.helpers.night_tables import CELLS, RULES, WORLD, Story, day, night, of, run, without

LORA = ("arc", "lora")


def test_a_damaged_night_is_excluded_by_its_status_and_never_by_hand() -> None:
    """vllm-omni #6032: three broken nights in a window made the target unreachable."""
    story = Story()
    story.after(count=3)
    for _ in range(3):
        damaged = without(night(day(len(story.nights) + 1), "broken", loss=30.0), LORA)
        assert story.judge(damaged).status == "incomplete"
    verdict = story.after()
    assert verdict.status == "same_bytes"
    assert verdict.baseline == (day(1), day(2), day(3))
    assert next(cell for cell in verdict.cells if cell.cell == LORA).baseline.nights == 3


def test_a_bad_night_never_enters_the_baseline() -> None:
    story = Story()
    story.after(count=6)
    story.after("bug", loss=8.0, count=3)
    assert story.statuses[6:] == ["worse"] * 3
    assert story.verdicts[-1].baseline == tuple(day(n) for n in range(1, 7))
    assert story.after("a").baseline == tuple(day(n) for n in range(1, 7))


def test_the_baseline_is_all_nights_since_the_last_change_point() -> None:
    story = Story()
    story.after(count=5)
    assert story.after("gain", loss=-8.0).status == "better"
    story.after("gain", loss=-8.0, count=4)
    assert story.verdicts[-1].baseline == tuple(day(n) for n in range(6, 10))


def test_a_cell_that_never_passed_is_shown_apart_and_makes_no_night_red() -> None:
    """vllm-omni #5960, #7915: five of six red rows had never passed."""
    story = Story()
    verdicts = [story.judge(without(night(day(n)), LORA)) for n in (1, 2, 3, 4)]
    assert [verdict.status for verdict in verdicts] == ["incomplete", "within_noise", "same_bytes", "same_bytes"]
    cell = next(cell for cell in verdicts[-1].cells if cell.cell == LORA)
    assert (cell.status, cell.nights_in_row, cell.first_bad, cell.accuracy) == ("never_passed", 4, day(1), None)
    assert verdicts[-1].counts["never_passed"] == 1
    assert of(story.after(), LORA) == "new"  # the first night with a result


def test_a_night_without_any_result_is_no_green_night() -> None:
    empty = Night(day(1), WORLD, ())
    assert judge([], empty, RULES).status == "incomplete"
    story = Story()
    for n in (1, 2, 3):
        tonight = night(day(n))
        for cell in CELLS:
            tonight = without(tonight, cell)
        assert story.judge(tonight).status == "incomplete"


def test_a_cell_red_for_days_says_for_how_many_and_since_when() -> None:
    story = Story()
    story.after(count=4)
    story.after("bug", loss={LORA: 12.0}, count=3)
    cell = next(cell for cell in story.verdicts[-1].cells if cell.cell == LORA)
    assert (cell.status, cell.nights_in_row, cell.first_bad) == ("worse", 3, day(5))
    neighbours = [cell.status for cell in story.verdicts[-1].cells if cell.cell != LORA]
    assert neighbours == ["moved"] * 3


def test_a_broken_cell_counts_its_nights_too() -> None:
    story = Story()
    story.after(count=2)
    for n in (3, 4):
        story.judge(without(night(day(n)), LORA))
    cell = next(cell for cell in story.verdicts[-1].cells if cell.cell == LORA)
    assert (cell.status, cell.nights_in_row, cell.first_bad) == ("broken", 2, day(3))


def test_a_run_that_is_not_there_at_all_is_missing_like_one_that_failed() -> None:
    story = Story()
    story.after()
    whole = night(day(2))
    assert story.judge(replace(whole, runs=whole.runs[1:])).status == "incomplete"
    alone = [("arc", "lora")]
    only = Story()
    only.after(cells=alone)
    single = night(day(2), cells=alone)
    assert only.judge(replace(single, runs=single.runs[1:])).status == "incomplete"  # no other cell to count by
    gone = replace(whole, name=day(3), runs=tuple(one for one in whole.runs if one.cell != LORA))
    verdict = story.judge(gone)
    assert (verdict.status, of(verdict, LORA)) == ("incomplete", "broken")


def test_a_threshold_comes_from_the_cells_own_spread() -> None:
    """vllm-omni #6668: noise of 10.2 % against a threshold of 10 %. The same fall is news here and noise there."""
    statuses = {}
    for sd in (0.005, 0.06):
        history: list[Night] = []
        for n in range(1, 13):
            history.append(replace(_fresh_only(n, sd, 0.0), status="within_noise"))
        verdict = judge(history, _fresh_only(13, sd, 0.05), RULES)
        statuses[sd] = verdict.wants is not None
    assert statuses == {0.005: True, 0.06: False}


def _fresh_only(n: int, sd: float, fall: float) -> Night:
    """A night whose seeds lie at fixed quantiles of their spread, so that nothing is left to luck."""
    items, runs = 1000, []
    sign = 1 if n % 2 else -1
    for i, (seed, fresh) in enumerate(((0, False), (1, False), (7, True), (8, True), (9, True))):
        right = round(items * (0.7 - fall + sd * (sign, -sign, -1.0, 0.0, 1.0)[i]))
        marks = np.random.default_rng([n, i]).permutation(["1"] * right + ["0"] * (items - right))
        runs.append(replace(run(LORA, seed, "x"), fresh=fresh, right="".join(marks), digest=f"{n}:{seed}"))
    return Night(day(n), WORLD, tuple(runs))


def test_one_bad_seed_of_a_night_fails_no_good_night() -> None:
    """marin #3278, #3587: a gate on one last-step sample. Here a single seed 25 points down leads to no alarm."""
    story = Story()
    for n in range(1, 9):
        story.judge(night(day(n), f"bytes{n}"))
    tonight = night(day(9), "bytes9")
    outlier = replace(run(LORA, 9000, day(9), 25.0), fresh=True)
    runs = [outlier if one.cell == LORA and one.seed == 9000 else one for one in tonight.runs]
    assert story.judge(replace(tonight, runs=tuple(runs))).status == "within_noise"


def test_seconds_of_another_machine_or_other_versions_are_another_series() -> None:
    """Bencher: (branch, machine kind, measure) is one series."""
    story = Story()
    story.after(count=3)
    slow = replace(WORLD, machine="another")
    runs = tuple(replace(one, seconds=99.0) for one in night(day(4)).runs)
    verdict = story.judge(replace(night(day(4), world=slow), runs=runs))
    assert {cell.slower for cell in verdict.cells} == {None}
    here = story.judge(replace(night(day(5)), runs=runs))
    assert {cell.slower for cell in here.cells} == {9.9}


def test_bytes_are_compared_within_one_kind_of_machine_and_accuracy_across_them_with_a_note() -> None:
    story = Story()
    other = replace(WORLD, machine="another")
    for _ in range(3):
        story.after("a")
        story.after("b", world=other)
    assert story.statuses == ["within_noise", "within_noise", *["same_bytes"] * 4]
    assert "across machines or versions" in story.verdicts[1].notes[0]
    assert story.verdicts[4].cells[0].bytes.against == day(3)


def test_accuracy_is_never_compared_across_another_base_rows_or_settings() -> None:
    for name, value in (("base", "base2"), ("rows", {"arc": "else", "boolq": "rows2"}), ("settings", "settings2")):
        story = Story()
        story.after(count=5)
        verdict = story.after("a", loss=20.0, world=replace(WORLD, **{name: value}))
        assert verdict.status == ("within_noise" if name == "settings" else "ruler_moved")
        assert all(cell.difference is None for cell in verdict.cells)
        assert story.after("a", loss=20.0, world=replace(WORLD, **{name: value})).baseline == (day(6),)


def test_a_candidate_is_confirmed_with_fresh_seeds_before_anybody_is_told() -> None:
    """react_on_rails #3169: alarms of consecutive nights hardly overlapped."""
    story = Story()
    story.after(count=8)
    tonight = night(day(9), "bug", loss=8.0)
    first = judge(story.nights, tonight, RULES)
    assert first.status == "within_noise"
    assert first.wants is not None
    assert first.wants.direction == "worse"
    assert not is_news(story.nights, first, ["worse"])
    assert story.judge(tonight, loss=8.0).status == "worse"


def test_a_candidate_that_fresh_seeds_do_not_confirm_is_within_noise_and_its_cells_are_suspected() -> None:
    story = Story()
    story.after(count=8)
    verdict = story.judge(night(day(9), "bug", loss=8.0), loss=0.0)
    assert (verdict.status, story.confirmations) == ("within_noise", 1)
    assert verdict.confirmed is not None
    assert not verdict.confirmed.holds
    assert verdict.counts["suspected"] == 4
    assert "not confirmed" in verdict.line


def test_the_seeds_of_a_confirmation_enter_no_baseline() -> None:
    story = Story()
    story.after(count=8)
    story.judge(night(day(9), "bug", loss=8.0), loss=0.0)
    with_it = story.after("bug", loss=8.0)
    cell = next(cell for cell in with_it.cells if cell.cell == LORA)
    assert cell.baseline.nights == 9
    assert all(one.seed < 50_000 for night in story.nights for one in night.runs)


def test_a_confirmation_without_results_makes_the_night_incomplete_not_green() -> None:
    story = Story()
    story.after(count=8)
    verdict = story.judge(night(day(9), "bug", loss=8.0), loss=8.0, seeds=range(1))
    assert verdict.status == "incomplete"
    assert "too few results" in verdict.why


@pytest.mark.parametrize("when", [["worse"], ["worse", "incomplete"]])
def test_nothing_is_told_twice(when: list[str]) -> None:
    story = Story()
    story.after(count=5)
    told = []
    for word in ("bug", "bug", "", "bug"):
        tonight = night(day(len(story.nights) + 1), word, loss=8.0)
        tonight = tonight if word else without(tonight, LORA)
        verdict = judge(story.nights, tonight, RULES)
        verdict = story.judge(tonight, loss=8.0) if verdict is not None else verdict
        told.append(is_news(story.nights[:-1], verdict, when))
        story.nights[-1] = replace(story.nights[-1], told=told[-1])
    assert told == [True, False, "incomplete" in when, False]


def test_a_message_that_did_not_arrive_is_news_again_on_the_next_night() -> None:
    story = Story()
    story.after(count=5)
    first = story.after("bug", loss=8.0)
    assert is_news(story.nights[:-1], first, ["worse"])
    assert is_news(story.nights, story.after("bug", loss=8.0), ["worse"])  # told stayed False


def test_the_same_loss_again_after_it_was_over_is_news_again() -> None:
    story = Story()
    story.after(count=5)
    story.judge(night(day(6), "bug", loss=8.0), loss=8.0, told=True)
    assert story.after("a").status == "better"
    assert is_news(story.nights, story.after("bug", loss=8.0), ["worse"])


def test_thresholds_follow_from_the_rate_of_false_alarms() -> None:
    rules = Rules.of(NightlySpec(false_alarms_per_year=0.01, nights_per_year=365))
    both = rules.candidate_p * CONFIRM_P + RETURNS / rules.candidate_e * CONFIRM_P
    assert both * 365 == pytest.approx(0.01)
    assert Rules.of(NightlySpec(false_alarms_per_year=1)).candidate_p > rules.candidate_p
