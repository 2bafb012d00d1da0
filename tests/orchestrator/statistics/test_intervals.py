"""The distributions against published values, scipy's own tests and an independent integral."""

from __future__ import annotations

import math
import random
import statistics
from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, ndimage, stats

from orchestrator.statistics.intervals import DIFFERENCES, SHARES, clipped, mean_difference, spread, t_interval
from orchestrator.statistics.power import MOST_SEEDS, paired_power, seeds_needed, smallest_detectable_difference
from orchestrator.statistics.significance import holm, mcnemar_p, paired_p
from orchestrator.statistics.volatility import loss_change, loss_volatility

# "Student" (1908), The probable error of a mean: hours of sleep gained by ten patients from two drugs (R: `sleep`).
DRUG_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
DRUG_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
SLEEP = [a - b for a, b in zip(DRUG_1, DRUG_2, strict=True)]


def test_students_sleep_data_give_the_p_and_interval_that_r_prints() -> None:
    assert paired_p(SLEEP) == pytest.approx(0.002833, abs=5e-7)  # R prints 4 digits
    assert t_interval(SLEEP) == pytest.approx([-2.4598858, -0.7001142], abs=5e-8)  # R prints 7 decimals


def test_intervals_and_p_values_agree_with_scipy() -> None:
    result = stats.ttest_rel(DRUG_1, DRUG_2)
    assert paired_p(SLEEP) == pytest.approx(result.pvalue, abs=1e-9)
    for level in (0.8, 0.95, 0.99):
        assert t_interval(SLEEP, level) == pytest.approx(list(result.confidence_interval(level)), abs=1e-9)
    assert spread(SLEEP) == pytest.approx(float(np.std(SLEEP, ddof=1)), abs=1e-9)


def test_one_value_has_neither_spread_nor_interval_nor_p() -> None:
    assert (spread([0.5]), t_interval([0.5]), paired_p([0.5])) == (None, None, None)


def test_equal_values_have_no_interval_although_their_differences_are_rounded() -> None:
    differences = [0.75 - 0.70, 0.80 - 0.75, 0.60 - 0.55]
    assert len(set(differences)) > 1
    assert spread(differences) == 0.0
    assert t_interval(differences) is None


def test_an_interval_is_clipped_to_the_range_of_its_figure_and_otherwise_left_alone() -> None:
    assert clipped([0.92, 1.034], SHARES) == [0.92, 1.0]
    assert clipped([-0.1, 0.17], SHARES) == [0.0, 0.17]
    assert clipped([-0.1, 1.1], SHARES) == [0.0, 1.0]
    assert clipped([0.2, 0.3], SHARES) == [0.2, 0.3]
    assert clipped([-1.2, 0.3], DIFFERENCES) == [-1.0, 0.3]
    assert clipped(None, SHARES) is None


def test_identical_results_give_p_of_one() -> None:
    assert paired_p([0.0, 0.0, 0.0]) == 1.0


def test_a_constant_lead_gives_the_sign_test_because_t_is_undefined() -> None:
    assert paired_p([0.02] * 5) == pytest.approx(stats.binomtest(5, 5).pvalue, abs=1e-12)
    assert paired_p([-0.02, -0.02]) == 0.5


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (9, 1), (1, 9), (25, 15), (40, 40), (700, 640)])
def test_mcnemar_is_the_exact_binomial_test(wins: int, losses: int) -> None:
    expected = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert mcnemar_p(wins, losses) == pytest.approx(expected, abs=1e-9)


def test_holm_corrects_the_textbook_example() -> None:
    # Wikipedia, "Holm-Bonferroni method", the example with four p-values.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], abs=1e-12)


def test_holm_does_not_count_what_was_not_tested() -> None:
    assert holm([None, 0.02, None, 0.04]) == [None, 0.04, None, 0.04]
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_power_agrees_with_an_integral_over_the_chi_distribution() -> None:
    for n, effect in [(2, 5.0), (3, 3.26), (5, 1.7), (10, 1.0), (34, 0.5)]:
        critical, shift = stats.t.ppf(0.975, n - 1), effect * math.sqrt(n)

        def density(s: float, n: int = n, critical: float = critical, shift: float = shift) -> float:
            beyond = stats.norm.sf(critical * s - shift) + stats.norm.cdf(-critical * s - shift)
            return float(beyond * stats.chi.pdf(s * math.sqrt(n - 1), n - 1) * math.sqrt(n - 1))

        assert paired_power(n, effect) == pytest.approx(integrate.quad(density, 0, 12)[0], abs=1e-8)


@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_seeds_needed_are_those_of_g_power_for_small_medium_and_large_effects(effect: float, n: int) -> None:
    # G*Power 3.1, matched pairs, two-sided 5 %, power 0.8: the usual sample sizes for Cohen's dz.
    assert seeds_needed(effect, 1.0) == n
    assert seeds_needed(-effect / 100, 0.01) == n


@pytest.mark.parametrize("n", [2, 3, 5, 10, 100])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_the_smallest_detectable_difference_has_exactly_the_power_asked_for(n: int, power: float) -> None:
    detectable = smallest_detectable_difference(n, 0.01, power)
    assert paired_power(n, detectable / 0.01) == pytest.approx(power, abs=1e-9)
    assert seeds_needed(detectable * 1.0001, 0.01, power) == n


@pytest.mark.parametrize("n", [2, 3, 5, 30, 1000])
def test_power_rises_with_the_effect_and_is_a_number_everywhere(n: int) -> None:
    powers = [paired_power(n, step / 10 / math.sqrt(n)) for step in range(200)]
    assert powers[0] == pytest.approx(0.05, abs=1e-9)
    assert all(math.isfinite(power) for power in powers)
    assert all(after >= before - 1e-9 for before, after in pairwise(powers))


def test_extremes_of_effect_are_decided_without_overflow() -> None:
    assert seeds_needed(1.0, 1e-9) == 2
    assert seeds_needed(0.3, 0.0) == 2
    assert smallest_detectable_difference(5, 0.0) == 0.0


def test_beyond_ten_thousand_seeds_no_number_is_given_and_none_overflows() -> None:
    lightest = smallest_detectable_difference(MOST_SEEDS, 1.0)
    assert seeds_needed(lightest * 1.00001, 1.0) == MOST_SEEDS
    assert seeds_needed(lightest * 0.99999, 1.0) is None
    assert seeds_needed(1e-5, 0.01) is None
    assert seeds_needed(3.7e-17, 0.1) is None


def test_a_mean_that_is_only_rounding_is_zero_and_any_count_over_items_is_not() -> None:
    differences = [0.8 - 0.7, 0.6 - 0.7, 0.7 - 0.7]
    assert statistics.fmean(differences) != 0
    assert mean_difference(differences) == 0.0
    assert mean_difference([1e-9, 0.0]) == 5e-10


def test_impossible_questions_are_refused_with_their_numbers() -> None:
    with pytest.raises(ValueError, match="n=1: a difference between seeds needs at least 2"):
        smallest_detectable_difference(1, 0.01)
    with pytest.raises(ValueError, match="difference=0: no number of seeds"):
        seeds_needed(0.0, 0.01)
    with pytest.raises(ValueError, match="sd=-1 is not a standard deviation"):
        seeds_needed(0.1, -1)
    with pytest.raises(ValueError, match=r"power=1 is outside \(0.05, 1\)"):
        seeds_needed(0.1, 1, power=1)


def test_the_interval_covers_the_true_mean_nineteen_times_in_twenty() -> None:
    generator = random.Random(0)
    covered = 0
    for _ in range(2000):
        interval = t_interval([generator.gauss(0.7, 0.02) for _ in range(4)])
        covered += interval is not None and interval[0] <= 0.7 <= interval[1]
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)  # three standard errors of a share of 2000


def test_volatility_is_the_spread_around_scipys_running_median() -> None:
    generator = np.random.default_rng(0)
    losses = 2 * np.exp(-np.arange(230) / 50) + 0.1 * generator.standard_normal(230)
    trend = ndimage.median_filter(losses, size=23)
    expected = statistics.stdev((losses - trend)[11:-11].tolist())
    assert loss_volatility(losses.tolist()) == pytest.approx(expected, abs=1e-12)


def test_a_smooth_descent_has_no_volatility_however_curved() -> None:
    assert loss_volatility([math.exp(-t / 7) for t in range(300)]) == 0.0


def test_a_spike_counts_in_full_because_it_does_not_lift_its_own_trend() -> None:
    losses = [1.0] * 20
    losses[10] = 3.0
    assert loss_volatility(losses) == pytest.approx(statistics.stdev([2.0] + [0.0] * 15), abs=1e-12)


def test_volatility_grows_with_the_noise_in_proportion() -> None:
    noise = np.random.default_rng(1).standard_normal(200).tolist()
    assert loss_volatility([3 * value for value in noise]) == pytest.approx(3 * loss_volatility(noise), abs=1e-12)


def test_too_short_a_curve_measures_nothing_and_a_broken_one_is_infinitely_volatile() -> None:
    assert loss_volatility([]) == 0.0
    assert loss_volatility([5.0, 1.0, 5.0, 1.0, 5.0]) == 0.0
    assert loss_volatility([1.0, 2.0, math.nan, 1.0, 2.0, 1.0, 0.5]) == math.inf


def test_the_mean_absolute_change_counts_every_step_and_needs_no_window() -> None:
    losses = np.random.default_rng(3).standard_normal(50).tolist()
    expected = statistics.fmean(abs(after - before) for before, after in pairwise(losses))
    assert loss_change(losses) == pytest.approx(expected, abs=1e-12)
    assert loss_change([3.0, 1.0]) == 2.0
    assert (loss_change([1.0]), loss_change([])) == (0.0, 0.0)
    assert loss_change([1.0, math.inf, 1.0]) == math.inf
