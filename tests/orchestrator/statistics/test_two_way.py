"""The mean of a grid items x seeds: a worked example, the general method on a full grid, coverage."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.crossed import mean_error
from orchestrator.statistics.estimate import lower_p
from orchestrator.statistics.two_way import grid_mean


def test_a_worked_example() -> None:
    """Means of rows 1.5 and 4.5, of columns 2 and 4; MS 9, 4 and 1; so (9 + 4 - 1) / 4 = 3, and 144 / 98 degrees."""
    one = grid_mean(np.array([[1.0, 2.0], [3.0, 6.0]]))
    assert one.mean == 3.0
    assert one.error == pytest.approx(math.sqrt(3), rel=1e-12)
    assert one.freedom == pytest.approx(144 / 98, rel=1e-12)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("shape", [(6, 4), (9, 3), (5, 5)])
def test_it_is_the_estimate_over_pairs_of_runs_where_these_are_a_full_grid(shape: tuple[int, int], seed: int) -> None:
    random = np.random.default_rng([seed, *shape])
    grid = random.normal(size=shape) + random.normal(size=(shape[0], 1)) + 0.3 * random.normal(size=(1, shape[1]))
    pairs = mean_error(grid.ravel().tolist(), list(product(range(shape[0]), range(shape[1]))))
    one = grid_mean(grid)
    independent = float(grid.std(ddof=1)) / math.sqrt(grid.size)  # `mean_error` is never below this
    assert max(one.error, independent) == pytest.approx(pairs.error, rel=1e-9)
    if one.error > independent:
        assert one.freedom == pytest.approx(pairs.freedom, rel=1e-9)


def test_one_seed_is_students_test_over_items() -> None:
    values = np.array([0.0, -1, -1, 0, 1, -1, 0, 0, -1, 0])
    one = grid_mean(values[:, None])
    assert lower_p(one.score) == pytest.approx(stats.ttest_1samp(values, 0, alternative="less").pvalue, rel=1e-9)


def test_a_seed_that_moves_all_items_counts_as_one_observation() -> None:
    """Two seeds of 500 items that fell by 2 and by 6 points: one degree of freedom, no p below 0.1."""
    random = np.random.default_rng(0)
    grid = -np.array([0.02, 0.06]) + 0.001 * random.normal(size=(500, 2))
    one = grid_mean(grid)
    assert one.freedom == pytest.approx(1, abs=0.01)
    assert 0.1 < lower_p(one.score) < 0.2


def test_a_grid_without_spread_and_a_grid_of_one_item() -> None:
    assert grid_mean(np.zeros((4, 2))).score == 0
    assert lower_p(grid_mean(np.full((3, 2), -1.0)).score) == pytest.approx(2.0**-3)
    with pytest.raises(ValueError, match="1 items"):
        grid_mean(np.zeros((1, 3)))


@pytest.mark.parametrize(
    ("items_sd", "seeds_sd", "seeds"), [(0.0, 0.0, 2), (0.3, 0.0, 3), (0.0, 0.05, 3), (0.3, 0.1, 5)]
)
def test_intervals_hold_the_truth_as_often_as_they_say(items_sd: float, seeds_sd: float, seeds: int) -> None:
    """95 % intervals of 800 grids; three standard errors of a share are 2.3 %. With few seeds they may be too wide."""
    random, held = np.random.default_rng(1), 0
    for _ in range(800):
        grid = random.normal(size=(60, seeds)) + items_sd * random.normal(size=(60, 1))
        grid += seeds_sd * random.normal(size=(1, seeds))
        low, high = grid_mean(grid).interval() or (0.0, 0.0)
        held += low <= 0 <= high
    assert 0.925 <= held / 800 <= 0.995
