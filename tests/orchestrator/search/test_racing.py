"""Races between settings: what is dropped, what is never dropped, what comes next, and how often that errs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from scipy import stats

from benchmarks.simulations.racing import Case, simulate
from orchestrator.search import racing
from orchestrator.search.racing import DECIDED, Race, RaceStanding, decide, share_of

SEEDS = tuple(range(10))
NOISE = [0.011, -0.007, 0.004, -0.012, 0.009, 0.002, -0.003, 0.008, -0.006, 0.001]


def race(*settings: str, seeds: Sequence[int] = SEEDS, **more: float) -> Race:
    return Race(settings, tuple(seeds), **more)  # type: ignore[arg-type] - first is the only whole number


def table(**rows: Sequence[float | None]) -> dict[tuple[str, int], float | None]:
    return {(setting, seed): value for setting, values in rows.items() for seed, value in enumerate(values)}


def near(level: float, shift: int = 0) -> list[float]:
    """Ten seeds around ``level``; settings with different shifts have different noise."""
    return [level + 0.5 * NOISE[(seed + shift) % 10] for seed in SEEDS]


def step_by_step(of: Race, scores: Mapping[tuple[str, int], float | None]) -> tuple[RaceStanding, int]:
    """Train only what the race asks for; return its end and how many runs it took."""
    known: dict[tuple[str, int], float | None] = {}
    while True:
        decision = decide(of, known)
        if not decision.next:
            return decision, len(known)
        assert not known.keys() & set(decision.next)
        known |= {pair: scores[pair] for pair in decision.next}


def test_a_race_begins_with_the_first_seeds_of_every_setting() -> None:
    decision = decide(race("a", "b", first=3), {})
    assert decision.next == tuple((setting, seed) for setting in "ab" for seed in (0, 1, 2))
    assert (decision.outcome, decision.looked, decision.dropped) == ("open", 0, {})


def test_a_setting_far_behind_is_dropped_and_the_next_seed_goes_to_those_still_in() -> None:
    scores = table(good=near(0.8)[:4], fair=near(0.795, 3)[:4], bad=near(0.2, 6)[:4])
    decision = decide(race("bad", "fair", "good"), scores)
    assert [*decision.dropped] == ["bad"]
    out = decision.dropped["bad"]
    assert (out.leader, out.gap.mean < -0.5, out.gap.high < 0) == ("good", True, True)
    assert decision.active == ("fair", "good")
    assert decision.next == (("fair", 4), ("good", 4))


def test_the_limit_of_a_gap_is_that_of_scipys_paired_interval_at_the_share_of_its_look() -> None:
    a, b = near(0.80)[:3], near(0.795, 4)[:3]
    decision = decide(race("a", "b"), table(a=a, b=b))
    level = 1 - share_of(race("a", "b"), look=1, active=2)
    interval = stats.ttest_rel(b, a, alternative="less").confidence_interval(level)
    assert decision.gaps["b"].high == pytest.approx(interval.high, abs=1e-9)
    assert decision.gaps["b"].mean == pytest.approx(np.mean(b) - np.mean(a), abs=1e-12)


def test_the_shares_of_all_looks_and_comparisons_sum_to_alpha_at_most() -> None:
    for settings in (2, 5, 40):
        of = race(*map(str, range(settings)))
        spent = sum(share_of(of, look, settings) * settings * (settings - 1) for look in range(1, 5000))
        assert 0.049 < spent < 0.05


@pytest.mark.parametrize("seeds", [3, 5, 9])
@pytest.mark.parametrize("luck", [-0.02, -0.2, -0.8])
def test_one_unlucky_seed_drops_no_setting_however_unlucky(seeds: int, luck: float) -> None:
    for victim in range(seeds):
        unlucky = near(0.8, 3)
        unlucky[victim] += luck
        scores = table(good=near(0.8)[:seeds], unlucky=unlucky[:seeds])
        assert decide(race("good", "unlucky"), scores).dropped == {}


def test_one_diverged_run_is_a_loss_that_drops_no_setting_and_makes_no_leader() -> None:
    scores = table(good=near(0.70)[:5], wild=[None, *near(0.8, 2)[1:5]])
    decision = decide(race("wild", "good"), scores)
    assert (decision.leader, decision.dropped) == ("good", {})
    assert decision.gaps["wild"].mean == pytest.approx(np.mean([0, *near(0.8, 2)[1:5]]) - np.mean(near(0.70)[:5]))


def test_a_setting_that_always_diverges_is_dropped() -> None:
    scores = table(good=near(0.7)[:4], fair=near(0.69, 3)[:4], wild=[None] * 4)
    assert [*decide(race("wild", "good", "fair"), scores).dropped] == ["wild"]


def test_a_few_equal_differences_are_not_taken_for_certainty() -> None:
    scores = table(a=[0.50, 0.52, 0.54, 0.50], b=[0.48, 0.50, 0.52, 0.48])  # each behind by one item of fifty
    assert decide(race("a", "b"), scores).dropped == {}


def test_settings_that_are_equal_in_all_seeds_stay_and_the_first_leads() -> None:
    decision, runs = step_by_step(race("a", "b"), table(a=[0.5] * 10, b=[0.5] * 10))
    assert (decision.outcome, decision.leader, decision.active, runs) == ("seeds spent", "a", ("a", "b"), 20)


def test_a_race_with_one_setting_left_is_over() -> None:
    decision, runs = step_by_step(race("bad", "good"), table(good=near(0.8), bad=near(0.2, 5)))
    assert (decision.outcome, decision.active, decision.next) == ("one left", ("good",), ())
    assert runs < 10


def test_a_race_ends_where_nothing_can_be_ahead_by_more_than_matters() -> None:
    scores = table(a=near(0.8), b=near(0.799, 1))
    early, few = step_by_step(race("a", "b", resolve=0.05), scores)
    late, all_of_them = step_by_step(race("a", "b"), scores)
    assert (early.outcome, late.outcome, all_of_them) == ("close enough", "seeds spent", 20)
    assert few < all_of_them
    assert 0 < early.gaps["b"].high <= 0.05


def test_results_of_later_seeds_change_no_decision() -> None:
    """A grid that was begun earlier must not let the race look ahead."""
    full = table(a=near(0.8), b=[*near(0.79, 3)[:4], *[0.0] * 6], c=near(0.1, 6))
    begun = {pair: score for pair, score in full.items() if pair[1] < 4}
    assert decide(race("a", "b", "c", seeds=range(5)), begun).dropped == (
        decide(race("a", "b", "c", seeds=range(5)), full).dropped
    )


def test_more_seeds_leave_the_looks_as_they_were() -> None:
    scores = table(a=near(0.8), b=near(0.74, 3), c=near(0.1, 6))
    short, long = (decide(race("a", "b", "c", seeds=range(n)), scores) for n in (5, 10))
    assert short.dropped
    assert short.dropped.items() <= long.dropped.items()


def test_a_setting_whose_run_failed_waits_and_the_others_go_on() -> None:
    scores = table(a=near(0.8)[:3], b=near(0.79, 3)[:2], c=near(0.795, 6)[:3])
    decision = decide(race("a", "b", "c"), scores, lost={("b", 2)})
    assert (decision.waiting, decision.next) == (("b",), (("a", 3), ("c", 3)))
    assert "b" in decision.active


def test_a_race_is_not_decided_while_somebody_waits() -> None:
    scores = table(a=near(0.8)[:3], b=near(0.79, 3)[:2])
    decision = decide(race("a", "b"), scores, lost={("b", 2)})
    assert (decision.outcome, decision.next) == ("waiting", ())
    assert decide(race("a", "b"), table(a=near(0.8)[:3], b=near(0.79, 3)[:3])).next == (("a", 3), ("b", 3))


def test_a_race_taken_step_by_step_ends_as_one_that_sees_the_whole_grid() -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        scores = {
            (setting, seed): 0.7 - 0.03 * place + 0.01 * random.normal()
            for place, setting in enumerate("abcdef")
            for seed in SEEDS
        }
        end, _ = step_by_step(race(*"abcdef"), scores)
        assert end == decide(race(*"abcdef"), scores)
        assert end.outcome in DECIDED


CASES = [
    Case("tied", settings=2, seeds=8, gaps=(0, 0)),
    Case("tied", settings=6, seeds=8, gaps=(0,) * 6),
    Case("noisy best", settings=6, seeds=8, gaps=(0, 0.2, 0.2, 0.2, 0.2, 0.2), noises=(4, 1, 1, 1, 1, 1)),
]
RACES = 400


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.settings}")
def test_a_setting_as_good_as_the_best_is_dropped_in_five_races_of_a_hundred_at_most(case: Case) -> None:
    errors = round(simulate(case, RACES).error * RACES)
    assert errors <= stats.binom.ppf(0.999, RACES, 0.05)  # what 5 % would exceed once in a thousand tests


def test_the_simulation_finds_a_race_whose_error_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(racing, "share_of", lambda race, look, active: 0.05)  # each look and pair at 5 %
    assert simulate(CASES[1], 100).error > 0.3


def test_the_simulation_counts_what_is_saved() -> None:
    outcome = simulate(Case("three far behind", settings=4, seeds=8, gaps=(0, 30, 30, 30)), 50)
    assert 0.4 < outcome.saved <= 5 / 8  # no setting trains fewer than three of its eight seeds
    assert (outcome.error, outcome.kept_best) == (0, 1)
