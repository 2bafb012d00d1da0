"""Figures over many tasks against R's printed values, scipy's own functions and the paper's definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.aggregates import (
    improvement_interval,
    interquartile_interval,
    interquartile_mean,
    probability_of_improvement,
    task_mean,
)
from orchestrator.statistics.bootstrap import STRATIFIED_RESAMPLES

# Hollander & Wolfe (1973), p. 69: permeability of a human placental membrane (the example of R's `wilcox.test`).
AT_TERM = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
EARLIER = [1.15, 0.88, 0.90, 0.74, 1.21]
OURS = [[0.70, 0.72, 0.71], [0.55, 0.60, 0.58], [0.90, 0.91, 0.90]]
THEIRS = [[0.69, 0.72, 0.70], [0.59, 0.56, 0.57], [0.88, 0.89]]


def tails(sizes: list[int]) -> list[float]:
    """Hesterberg (2015), the expanded percentile interval at 95 %."""
    n = len(sizes) / sum(1 / size for size in sizes)
    wide = stats.t.ppf([0.025, 0.975], sum(sizes) - len(sizes)) * np.sqrt(n / (n - 1))
    return [float(tail) for tail in stats.norm.cdf(wide)]


def test_the_probability_of_improvement_is_rs_w_over_the_pairs() -> None:
    # R prints W = 35 for wilcox.test(x, y) on these data; there are 10 x 5 pairs.
    assert probability_of_improvement([AT_TERM], [EARLIER]) == pytest.approx(35 / 50, abs=1e-12)


def test_the_probability_of_improvement_is_the_mean_of_scipys_u_over_tasks() -> None:
    expected = [stats.mannwhitneyu(a, b).statistic / (len(a) * len(b)) for a, b in zip(OURS, THEIRS, strict=True)]
    assert probability_of_improvement(OURS, THEIRS) == pytest.approx(float(np.mean(expected)), abs=1e-12)
    assert probability_of_improvement(THEIRS, OURS) == pytest.approx(1 - float(np.mean(expected)), abs=1e-12)


def test_a_method_improves_on_itself_half_of_the_time() -> None:
    assert probability_of_improvement(OURS, OURS) == 0.5
    low, high = improvement_interval(OURS, OURS) or (1.0, 0.0)
    assert low < 0.5 < high


def test_the_interquartile_mean_is_rs_trimmed_mean() -> None:
    # The example of R's `mean`: x <- c(0:10, 50). trim = 0.25 leaves out three of twelve at each end.
    assert interquartile_mean([[*range(11), 50]]) == pytest.approx(5.5, abs=1e-12)


def test_the_interquartile_mean_is_over_runs_of_all_tasks_as_in_rliable() -> None:
    # rliable's aggregate_iqm: scipy.stats.trim_mean(scores, proportiontocut=0.25, axis=None)
    pooled = [score for task in THEIRS for score in task]
    assert interquartile_mean(THEIRS) == pytest.approx(float(stats.trim_mean(pooled, 0.25)), abs=1e-12)
    assert interquartile_mean(THEIRS) != pytest.approx(task_mean(THEIRS), abs=1e-4)


def test_the_interval_of_the_interquartile_mean_draws_seeds_within_tasks() -> None:
    generator = np.random.default_rng(0)
    drawn = [
        np.sort(task)[generator.integers(0, len(task), (STRATIFIED_RESAMPLES, len(task)))] for task in map(list, OURS)
    ]
    means = stats.trim_mean(np.concatenate(drawn, axis=1), 0.25, axis=1)
    assert interquartile_interval(OURS) == pytest.approx(np.quantile(means, tails([3, 3, 3])).tolist(), abs=1e-9)


def test_the_interval_of_the_improvement_draws_both_methods() -> None:
    generator = np.random.default_rng(0)
    drawn = [
        np.sort(task)[generator.integers(0, len(task), (STRATIFIED_RESAMPLES, len(task)))] for task in [*OURS, *THEIRS]
    ]
    shares = [
        ((a[:, :, None] > b[:, None, :]) + 0.5 * (a[:, :, None] == b[:, None, :])).mean(axis=(1, 2))
        for a, b in zip(drawn[:3], drawn[3:], strict=True)
    ]
    expected = np.quantile(np.mean(shares, axis=0), tails([3, 3, 3, 3, 3, 2])).tolist()
    assert improvement_interval(OURS, THEIRS) == pytest.approx(expected, abs=1e-9)


def test_one_seed_on_any_task_leaves_no_interval() -> None:
    assert interquartile_interval([[0.5], [0.6]]) is None
    assert improvement_interval([[0.5]], [[0.6, 0.7]]) is None


def test_methods_on_different_numbers_of_tasks_are_refused() -> None:
    with pytest.raises(ValueError, match="2 tasks against 1: both methods need the same tasks"):
        probability_of_improvement([[0.5], [0.6]], [[0.5]])
