"""Resampled intervals against the same draws counted by hand, exact rational arithmetic, and scipy."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.aggregates import (
    improvement_interval,
    interquartile_interval,
    task_mean,
    task_mean_interval,
)
from orchestrator.statistics.bootstrap import (
    RESAMPLES,
    STRATIFIED_RESAMPLES,
    _lead_distribution,
    bca_interval,
    item_interval,
)

SEEDS = [0.720, 0.731, 0.709, 0.725, 0.718, 0.690]


def efrons_bca(values: list[float], level: float) -> list[float]:
    """Efron (1987), equations 2.3 and 6.6: bias from the share below the estimate, acceleration from the jackknife."""
    observed = np.sort(values)
    n, mean = len(observed), observed.mean()
    drawn = observed[np.random.default_rng(0).integers(0, n, (RESAMPLES, n))].mean(axis=1)
    share = ((drawn < mean).sum() + (drawn <= mean).sum()) / (2 * RESAMPLES)
    bias = stats.norm.ppf(share)
    left_out = (observed.sum() - observed) / (n - 1)
    lean = left_out.mean() - left_out
    acceleration = (lean**3).sum() / (6 * (lean**2).sum() ** 1.5)
    ends = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        z = bias + stats.norm.ppf(tail)
        ends.append(float(np.quantile(drawn, stats.norm.cdf(bias + z / (1 - acceleration * z)))))
    return ends


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_bca_interval_is_efrons_on_the_same_draws(level: float) -> None:
    # Hesterberg (2015): as wide as Student's, and by how much less a resample of 6 varies than 6 seeds do.
    raised = 1 - 2 * stats.norm.sf(stats.t.ppf((1 + level) / 2, 5) * math.sqrt(6 / 5))
    assert bca_interval(SEEDS, level) == pytest.approx(efrons_bca(SEEDS, raised), abs=1e-9)


def test_the_bca_interval_follows_a_skewed_seed_where_students_cannot() -> None:
    low, high = bca_interval([0.70, 0.71, 0.70, 0.71, 0.70, 0.90]) or (0, 0)
    mean = np.mean([0.70, 0.71, 0.70, 0.71, 0.70, 0.90])
    assert high - mean > 1.5 * (mean - low)


def test_neither_one_seed_nor_equal_seeds_have_a_bootstrap_interval() -> None:
    assert bca_interval([0.7]) is None
    assert bca_interval([]) is None
    assert bca_interval([0.7, 0.7, 0.7]) is None


def test_the_order_of_seeds_changes_no_end() -> None:
    assert bca_interval(SEEDS[::-1]) == bca_interval(SEEDS)


def test_two_seeds_give_their_own_range() -> None:
    assert bca_interval([0.8, 0.7]) == [0.7, 0.8]


def test_stratified_draws_stay_within_their_task() -> None:
    strata = [SEEDS, [0.11, 0.2, 0.34, 0.25, 0.17, 0.29, 0.22, 0.31]]
    generator = np.random.default_rng(0)
    drawn = [np.sort(each)[generator.integers(0, len(each), (STRATIFIED_RESAMPLES, len(each)))] for each in strata]
    means = np.mean([each.mean(axis=1) for each in drawn], axis=0)
    # Hesterberg (2015): 48 / 7 is the harmonic mean of 6 and 8 seeds, and (6 - 1) + (8 - 1) are the degrees of freedom.
    tails = stats.norm.cdf(stats.t.ppf([0.025, 0.975], 12) * math.sqrt(48 / 41))
    assert task_mean(strata) == pytest.approx((np.mean(strata[0]) + np.mean(strata[1])) / 2, abs=1e-12)
    assert task_mean_interval(strata) == pytest.approx(np.quantile(means, tails).tolist(), abs=1e-9)
    assert task_mean_interval([[0.2, 0.21], [0.8, 0.81]]) == pytest.approx([0.5, 0.51], abs=1e-12)  # not 0.2 to 0.81


def test_strata_whose_resamples_are_all_alike_have_no_interval() -> None:
    assert task_mean_interval([[0.2, 0.2], [0.8, 0.8]]) is None
    assert improvement_interval([[0.8, 0.9]], [[0.1, 0.2]]) is None  # each run of the first beats each of the second
    assert improvement_interval([[0.8, 0.15]], [[0.1, 0.2]]) is not None


def test_intervals_by_resampling_never_leave_the_range_of_an_accuracy() -> None:
    generator = np.random.default_rng(5)
    for _ in range(20):
        strata = (generator.binomial(50, 0.97, (3, 8)) / 50).tolist()
        intervals = [bca_interval(strata[0]), task_mean_interval(strata), interquartile_interval(strata)]
        ends = [end for interval in intervals if interval for end in interval]
        assert ends
        assert 0 <= min(ends) <= max(ends) <= 1


def test_a_task_with_one_seed_leaves_the_average_without_a_bootstrap_interval() -> None:
    assert task_mean_interval([[0.5, 0.6], [0.7]]) is None
    assert task_mean_interval([]) is None


@pytest.mark.parametrize(("wins", "losses", "items"), [(2, 1, 5), (0, 0, 4), (3, 0, 6), (1, 4, 6)])
def test_the_item_interval_is_that_of_every_resample_there_is(wins: int, losses: int, items: int) -> None:
    leads = [1] * wins + [-1] * losses + [0] * (items - wins - losses)
    totals = np.sort([sum(drawn) for drawn in product(leads, repeat=items)])
    ends = [totals[math.ceil(tail * len(totals)) - 1] / items for tail in (0.025, 0.975)]
    assert item_interval(wins, losses, items) == pytest.approx(ends, abs=1e-12)


def test_the_distribution_of_the_lead_is_the_multinomials_in_rational_arithmetic() -> None:
    wins, losses, items = 7, 3, 40
    won, lost = Fraction(wins, items), Fraction(losses, items)
    exact = [Fraction(0)] * (2 * items + 1)
    for w in range(items + 1):
        for d in range(items + 1 - w):
            ways = math.comb(items, w) * math.comb(items - w, d)
            exact[items + w - d] += ways * won**w * lost**d * (1 - won - lost) ** (items - w - d)
    assert sum(exact) == 1
    assert _lead_distribution(wins, losses, items) == pytest.approx([float(p) for p in exact], abs=1e-12)


def test_a_whole_benchmark_agrees_with_scipys_paired_bootstrap() -> None:
    leads = np.array([1] * 120 + [-1] * 80 + [0] * 1800)
    drawn = stats.bootstrap((leads,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(1))
    assert item_interval(120, 80, 2000) == pytest.approx(list(drawn.confidence_interval), abs=0.001)


def test_identical_answers_give_a_difference_of_exactly_zero() -> None:
    assert item_interval(0, 0, 500) == [0.0, 0.0]
    assert item_interval(0, 0, 10_042) == [0.0, 0.0]


def test_counts_that_do_not_fit_are_refused_with_their_numbers() -> None:
    with pytest.raises(ValueError, match="wins=3 and losses=3 are no counts over items=5"):
        item_interval(3, 3, 5)
    with pytest.raises(ValueError, match="items=0"):
        item_interval(0, 0, 0)
