"""Simulated sweeps: intervals hold what they promise, and what they cannot promise is on record."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.statistics.aggregates import interquartile_interval, interquartile_mean, task_mean_interval
from orchestrator.statistics.bootstrap import bca_interval, item_interval
from orchestrator.statistics.crossed import are_crossed, mean_interval
from orchestrator.statistics.intervals import SHARES, clipped, t_interval
from orchestrator.statistics.quotable import (
    improvement_bootstrap,
    interquartile_bootstrap,
    mean_bootstrap,
    task_mean_bootstrap,
)
from orchestrator.statistics.significance import holm, paired_p
from orchestrator.statistics.thresholds import FEWEST, FREEDOM, SEEDS, SEEDS_OF_PAIR, SEEDS_OF_TASK, TASKS
from orchestrator.summary.comparisons import corrected, difference

SWEEPS, ITEMS = 2000, 500
LEVELS = np.array([0.45, 0.55, 0.62, 0.68, 0.74, 0.78, 0.83, 0.90])  # each task's true accuracy
pytestmark = pytest.mark.slow


def sweeps(seeds: int, lift: float = 0.0) -> NDArray[np.float64]:
    """Return accuracies by sweep, task and seed: counts over items around each seed's own true accuracy."""
    generator = np.random.default_rng(0 if lift == 0 else 1)
    true = LEVELS[:, None] + lift + generator.normal(0, 0.015, (SWEEPS, len(LEVELS), seeds))
    return generator.binomial(ITEMS, true) / ITEMS


def share(intervals: list[list[float] | None], truth: float) -> float:
    return float(np.mean([interval is not None and interval[0] <= truth <= interval[1] for interval in intervals]))


def by_task(accuracies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return all sweeps' accuracies by task: so many runs that their mean is as good as the truth."""
    return accuracies.transpose(1, 0, 2).reshape(accuracies.shape[1], -1)


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take fewer resamples: the ends move by far less than their distance, and 2,000 sweeps take seconds."""
    monkeypatch.setattr("orchestrator.statistics.bootstrap.RESAMPLES", 1999)


@pytest.mark.parametrize("seeds", [3, 5])
def test_students_intervals_of_methods_differences_and_averages_cover_at_93_to_97_percent(seeds: int) -> None:
    ours, theirs = sweeps(seeds, 0.01), sweeps(seeds)
    assert 0.93 <= share([t_interval(values) for values in theirs[:, 0].tolist()], LEVELS[0]) <= 0.97
    assert 0.93 <= share([t_interval(values) for values in (ours - theirs)[:, 1].tolist()], 0.01) <= 0.97
    assert 0.93 <= share([t_interval(values) for values in theirs.mean(axis=1).tolist()], LEVELS.mean()) <= 0.97


@pytest.mark.parametrize(
    ("mean", "sd", "least"), [(0.99, 0.005, 0.92), (0.98, 0.01, 0.92), (0.98, 0.015, 0.89), (0.02, 0.01, 0.92)]
)
@pytest.mark.parametrize("seeds", [3, 5])
def test_near_the_edges_a_clipped_interval_covers_exactly_as_often_as_students_own(
    mean: float, sd: float, least: float, seeds: int
) -> None:
    """The seeds' true accuracies are beta distributed: between 0 and 1, and skewed towards the middle."""
    generator = np.random.default_rng(4)
    size = mean * (1 - mean) / sd**2 - 1
    true = generator.beta(mean * size, (1 - mean) * size, (SWEEPS, seeds))
    drawn = (generator.binomial(ITEMS, true) / ITEMS).tolist()
    known = [interval for interval in (t_interval(values) for values in drawn) if interval is not None]
    inside = [clipped(interval, SHARES) for interval in known]
    assert len(known) >= 0.99 * SWEEPS
    assert inside != known
    assert share(inside, mean) == share(known, mean)
    assert least <= share(inside, mean) <= 0.97
    assert all(interval is not None and 0 <= interval[0] < interval[1] <= 1 for interval in inside)


@pytest.mark.parametrize("seeds", [SEEDS, 10, 20])
def test_the_bca_interval_covers_at_93_to_97_percent_where_it_is_quoted(few_resamples: None, seeds: int) -> None:
    cells, drawn = [(seed, seed) for seed in range(seeds)], sweeps(seeds)
    lead = sweeps(seeds, 0.01)[:, 1] - drawn[:, 1]
    for values, truth in ((drawn[:, 0], LEVELS[0]), (drawn[:, -1], LEVELS[-1]), (lead, 0.01)):
        assert 0.93 <= share([mean_bootstrap(one, cells) for one in values.tolist()], truth) <= 0.97


def test_with_three_seeds_the_bca_interval_is_too_short_which_is_why_it_is_not_quoted(few_resamples: None) -> None:
    assert 0.70 <= share([bca_interval(values) for values in sweeps(3)[:500, 0].tolist()], LEVELS[0]) <= 0.85


@pytest.mark.parametrize(
    "spreads",
    [
        (0.01, 0.01, 0.01),
        (0.01, 0.0, 0.01),
        (0.02, 0.0, 0.005),
        (0.005, 0.005, 0.01),
        (0.003, 0.003, 0.01),
        (0.0, 0.0, 0.01),
    ],
)
@pytest.mark.rare
@pytest.mark.parametrize("sizes", [(3, 3), (4, 4), (5, 3)])
@pytest.mark.parametrize("missing", [0, 2])
def test_intervals_of_crossed_seeds_cover_whatever_the_variance_comes_from(
    sizes: tuple[int, int], spreads: tuple[float, float, float], missing: int
) -> None:
    starts, orders = sizes
    of_start, of_order, rest = spreads
    generator = np.random.default_rng(3)
    drawn = generator.normal(0, of_start, (SWEEPS, starts, 1)) + generator.normal(0, of_order, (SWEEPS, 1, orders))
    drawn = drawn + generator.normal(0, rest, (SWEEPS, starts, orders))
    cells = [(start, order) for start in range(starts) for order in range(orders)][missing:]
    values = drawn.reshape(SWEEPS, -1)[:, missing:].tolist()
    held = share([mean_interval(one, cells) for one in values], 0.0)
    matters = max(of_start, of_order) >= rest / 2  # what brings less is now and then taken for more
    assert 0.93 <= held <= (0.975 if matters else 0.99)
    if min(of_start, of_order) >= rest:
        assert share([t_interval(one) for one in values], 0.0) < 0.85


def test_with_two_seeds_on_an_axis_no_interval_of_crossed_seeds_is_quoted() -> None:
    cells = [(start, order) for start in range(2) for order in range(5)]
    assert are_crossed(cells)
    assert mean_interval([0.01 * one for one in range(10)], cells) is None


def test_stratified_intervals_of_eight_tasks_and_five_seeds_cover_at_93_to_97_percent() -> None:
    theirs = sweeps(5)
    assert 0.93 <= share([task_mean_interval(tasks) for tasks in theirs.tolist()], LEVELS.mean()) <= 0.97
    middle = interquartile_mean(by_task(theirs).tolist())
    assert 0.93 <= share([interquartile_interval(tasks) for tasks in theirs.tolist()], middle) <= 0.97


@pytest.mark.parametrize("lift", [0.0, 0.03])
@pytest.mark.parametrize("tasks", [1, 2, 8])
def test_the_improvement_interval_covers_at_93_to_97_percent_where_it_begins_to_be_quoted(
    tasks: int, lift: float
) -> None:
    """A method without a lead is one drawn anew: of other sweeps, in another order."""
    theirs = sweeps(SEEDS_OF_PAIR)[:, :tasks]
    ours = sweeps(SEEDS_OF_PAIR, lift)[:, :tasks] if lift else theirs[::-1]
    pairs = [(a[:2000], b[-2000:]) for a, b in zip(by_task(ours), by_task(theirs), strict=True)]
    wins = np.mean([((a[:, None] > b).mean() + (a[:, None] >= b).mean()) / 2 for a, b in pairs])
    both = zip(ours.tolist(), theirs.tolist(), strict=True)
    assert 0.93 <= share([improvement_bootstrap(first, second, []) for first, second in both], float(wins)) <= 0.97


@pytest.mark.parametrize(
    ("tasks", "seeds"), [(1, 1 + FREEDOM), (2, 1 + FREEDOM // 2), (FREEDOM // 2, FEWEST), (8, FEWEST)]
)
def test_the_interval_of_the_task_mean_covers_at_93_to_97_percent_where_it_begins_to_be_quoted(
    tasks: int, seeds: int
) -> None:
    intervals = [task_mean_bootstrap(sweep[:tasks], []) for sweep in sweeps(seeds).tolist()]
    assert 0.93 <= share(intervals, LEVELS[:tasks].mean()) <= 0.97


def test_the_interquartile_interval_covers_at_93_to_97_percent_where_it_begins_to_be_quoted() -> None:
    drawn = sweeps(SEEDS_OF_TASK)[:, :TASKS]
    middle = interquartile_mean(by_task(drawn).tolist())
    assert 0.93 <= share([interquartile_bootstrap(one, []) for one in drawn.tolist()], middle) <= 0.97


def test_the_item_interval_of_one_seed_covers_at_93_to_97_percent() -> None:
    counts = np.random.default_rng(2).multinomial(ITEMS, [0.10, 0.07, 0.83], SWEEPS).tolist()
    assert 0.93 <= share([item_interval(wins, losses, ITEMS) for wins, losses, _ in counts], 0.03) <= 0.97


def test_equal_methods_are_told_apart_in_at_most_one_sweep_in_twenty() -> None:
    lead = sweeps(5) - sweeps(5)[::-1]
    false = 0
    for tasks in lead.tolist():
        p_values = holm([paired_p(values) for values in tasks])
        false += any(p is not None and p < 0.05 for p in p_values)
    assert false / SWEEPS <= 0.05 + 3 * (0.05 * 0.95 / SWEEPS) ** 0.5
    first = {seed: float(value) for seed, value in enumerate(sweeps(5)[0, 0])}
    pairs = corrected([difference(("a", "b"), first, first)])
    assert (pairs[0]["p_corrected"], pairs[0]["verdict"]) == (1.0, "tie")
