"""The e-detector: worked numbers, the definition as two loops, residuals that are standard normal, its run length."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.e_detector import SHIFTS, Residuals, detector, residuals
from orchestrator.verdict.rules import RETURNS


def _nights(runs: int, nights: int, seed: int, shift: float = 0.0, at: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(0.7, 0.01, size=(1, nights, runs))
    values[:, at:] += shift * 0.01
    return values


def _everywhere(values: np.ndarray) -> np.ndarray:
    return np.ones(values.shape[:2], dtype=bool)


def test_a_residual_is_students_ratio_of_a_night_to_all_runs_before() -> None:
    """Runs 1, 3 before (mean 2), 5, 7 tonight (mean 6): squares 2 + 2 over 2 degrees, so 4 / (sqrt 2 * 1) = 2.83."""
    one = residuals(np.array([[[1.0, 3.0], [5.0, 7.0]]]), np.zeros(1))
    assert one.scores[0, 0] == 0
    assert one.scores[0, 1] == pytest.approx(stats.norm.ppf(stats.t.cdf(4 / math.sqrt(2), 2)), rel=1e-9)
    assert one.gains[0, 1] == pytest.approx(1 / (2 * 1))
    assert one.before.tolist() == [[0, 2]]


def test_the_detector_is_the_sum_over_first_nights_of_products_of_bets() -> None:
    values = _nights(3, 12, 0, -1.5, 8)
    series = residuals(values, np.zeros(1))
    starts = np.array([[False, False, True, False, True, True, False, True, True, False, True, True]])
    wanted = 0.0
    for j in np.flatnonzero(starts[0]):
        for shift in SHIFTS:
            product = 1.0
            for t in range(j, 12):
                bet = shift * series.before[0, j] * series.gains[0, t]
                product *= math.exp(-bet * series.scores[0, t] - bet**2 / 2)
            wanted += product / len(SHIFTS)
    result = detector(series, starts, -1)
    assert math.exp(result.logarithm[0]) == pytest.approx(wanted, rel=1e-9)
    assert abs(int(result.start[0]) - 8) <= 1


def test_with_bets_that_never_fade_it_is_shiryaevs_and_roberts_recursion() -> None:
    """R_t = (1 + R_(t-1)) L_t, here with L = 1: after five nights that bet nothing R is 5."""
    nothing = Residuals(np.zeros((1, 7)), np.zeros((1, 7)), np.arange(7.0)[None] * 3)
    assert math.exp(detector(nothing, np.ones((1, 7), dtype=bool), -1).logarithm[0]) == pytest.approx(
        6
    )  # first: no runs before


def test_without_a_night_on_which_a_change_may_begin_it_says_nothing() -> None:
    values = _nights(3, 20, 1, -5.0, 10)
    result = detector(residuals(values, np.zeros(1)), np.zeros((1, 20), dtype=bool), -1)
    assert result.logarithm[0] == -np.inf


def test_scores_are_standard_normal_and_independent_when_nothing_changes() -> None:
    scores = np.concatenate([residuals(_nights(3, 12, seed), np.zeros(1)).scores[:, 1:] for seed in range(1500)])
    assert stats.kstest(scores.ravel(), "norm").pvalue > 0.001
    assert abs(np.corrcoef(scores[:, 0], scores[:, 1])[0, 1]) < 0.09
    assert abs(np.corrcoef(scores[:, :-1].ravel(), scores[:, 1:].ravel())[0, 1]) < 0.03
    squares = scores**2
    assert abs(np.corrcoef(squares[:, :-1].ravel(), squares[:, 1:].ravel())[0, 1]) < 0.03


def test_the_mean_time_to_a_false_alarm_is_at_least_the_threshold() -> None:
    """100 histories of at most 400 nights: the mean of the first crossing of 30, and crossings counted at 400."""
    threshold, firsts = 30.0, []
    for seed in range(100):
        series = residuals(_nights(3, 400, seed), np.zeros(1))
        firsts.append(next((t for t in range(5, 401, 1) if _at(series, t) >= threshold), 400))
    assert np.mean(firsts) >= threshold


def test_nights_above_a_threshold_are_as_rare_as_the_thresholds_of_nights_assume() -> None:
    """The share of nights without a change above A, times A, over 6,000 histories: below `RETURNS` of the rules."""
    values = np.random.default_rng(0).normal(size=(6000, 60, 3))
    above = np.exp(detector(residuals(values, np.zeros(6000)), _everywhere(values), -1).logarithm)
    for threshold in (20, 50, 100):
        assert 1 < threshold * np.mean(above >= threshold) < RETURNS


def _at(series: Residuals, night: int) -> float:
    cut = Residuals(*(part[:, :night] for part in series))
    return math.exp(detector(cut, np.ones((1, night), dtype=bool), -1).logarithm[0])


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_shift_of_one_standard_deviation_is_seen_within_fourteen_nights_and_dated(sign: int) -> None:
    starts, seen = [], 0
    for seed in range(60):
        values = _nights(3, 54, seed, sign * 1.0, 40)
        result = detector(residuals(values, np.zeros(1)), _everywhere(values), sign)
        seen += bool(result.logarithm[0] > math.log(1000))
        starts.append(int(result.start[0]))
        other = detector(residuals(values, np.zeros(1)), _everywhere(values), -sign)
        assert other.logarithm[0] < math.log(1000)
    assert seen >= 50
    assert abs(np.median(starts) - 40) <= 2


def test_values_are_scaled_away_and_gaps_are_no_runs() -> None:
    values = _nights(3, 15, 3, -1.0, 9)
    one = detector(residuals(values, np.zeros(1)), _everywhere(values), -1).logarithm
    assert detector(residuals(100 * values - 7, np.zeros(1)), _everywhere(values), -1).logarithm == pytest.approx(one)
    wider = np.concatenate([values, np.full((1, 15, 2), np.nan)], axis=2)
    assert detector(residuals(wider, np.zeros(1)), _everywhere(values), -1).logarithm == pytest.approx(one)
    gap = np.insert(values, 5, np.nan, axis=1)
    assert residuals(gap, np.zeros(1)).scores[0, 5] == 0
    assert np.delete(residuals(gap, np.zeros(1)).scores, 5, axis=1) == pytest.approx(
        residuals(values, np.zeros(1)).scores
    )


def test_equal_values_bet_nothing_and_a_floor_is_the_least_spread() -> None:
    flat = np.full((1, 6, 3), 0.7)
    assert not residuals(flat, np.zeros(1)).scores.any()
    flat[0, 5] = 0.69
    assert residuals(flat, np.array([0.01])).scores[0, 5] == pytest.approx(
        stats.norm.ppf(stats.t.cdf(-1 / math.sqrt(1 / 3 + 1 / 15), 16)), rel=1e-6
    )
