"""Estimates: Student's score and interval, how several join, and the pooled two-sample test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.estimate import FARTHEST, Estimate, joined, joined_score, lower_p, two_sample

FIRST, SECOND = [0.70, 0.72, 0.71], [0.74, 0.73, 0.75, 0.72, 0.76]


def test_two_samples_are_students_pooled_test() -> None:
    one = two_sample(FIRST, SECOND)
    assert one is not None
    assert one.mean == pytest.approx(-0.03)
    assert lower_p(one.score) == pytest.approx(stats.ttest_ind(FIRST, SECOND, alternative="less").pvalue, rel=1e-9)
    low, high = stats.ttest_ind(FIRST, SECOND).confidence_interval(0.95)
    assert one.interval() == pytest.approx([low, high], rel=1e-9)


def test_two_samples_of_too_few_values_give_nothing_and_a_floor_is_the_least_spread() -> None:
    assert two_sample([], SECOND) is None
    assert two_sample([0.7], [0.8]) is None
    flat = two_sample([0.69] * 3, [0.7] * 30, floor=0.01)
    assert flat is not None
    assert flat.error == pytest.approx(0.01 * math.sqrt(1 / 3 + 1 / 30))
    assert lower_p(flat.score) > 0.05


def test_a_score_is_the_normal_quantile_of_students_p_and_stays_finite() -> None:
    assert Estimate(-2.0, 1.0, 10).score == pytest.approx(stats.norm.ppf(stats.t.cdf(-2, 10)), rel=1e-9)
    assert Estimate(2.0, 1.0, 10).score == -Estimate(-2.0, 1.0, 10).score
    assert Estimate(-1.0, 1e-9, 500).score == -FARTHEST or Estimate(-1.0, 1e-9, 500).score < -30
    assert Estimate(0.0, 0.0, 3).score == 0
    assert lower_p(Estimate(-1.0, 0.0, 3).score) == pytest.approx(2.0**-4)


def test_joined_estimates_are_satterthwaites() -> None:
    """Errors 0.3 and 0.4 over two: variance (0.09 + 0.16) / 4; freedom 0.25^2 / (0.09^2 / 2 + 0.16^2 / 8)."""
    one = joined([Estimate(1.0, 0.3, 2), Estimate(3.0, 0.4, 8)])
    assert one == pytest.approx((2.0, 0.25, 0.0625 / (0.0081 / 2 + 0.0256 / 8)))
    assert joined([Estimate(1.0, 0.3, 2), Estimate(3.0, 0.4, 8)], [3, 1]).mean == 1.5
    with pytest.raises(ValueError, match="No estimate"):
        joined([])


def test_joined_scores_are_stouffers() -> None:
    assert joined_score([-2.0], [3]) == -2.0
    assert joined_score([-1.0, -2.0], [1, 1]) == pytest.approx(-3 / math.sqrt(2))
    scores = np.random.default_rng(0).normal(size=(4000, 2))
    assert np.std([joined_score(pair.tolist(), [2, 3]) for pair in scores]) == pytest.approx(1, abs=0.04)
