"""Means over crossed seeds: the textbook's mean squares on a full grid, and Student's where nothing is shared."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.crossed import are_crossed, are_told_apart, mean_error, mean_interval, mean_p
from orchestrator.statistics.intervals import t_interval
from orchestrator.statistics.significance import paired_p
from orchestrator.summary.comparisons import difference
from orchestrator.summary.summary import summary_of

GRID = np.array([[0.70, 0.73, 0.71, 0.74], [0.62, 0.66, 0.64, 0.63], [0.75, 0.77, 0.79, 0.78]])
CELLS = list(product(range(3), range(4)))
VALUES = GRID.ravel().tolist()


def mean_squares() -> tuple[float, float, float]:
    """Two-way analysis of variance with one run a cell (any textbook, e.g. Montgomery, Design of experiments, 5.3)."""
    rows, columns, mean = GRID.mean(1), GRID.mean(0), GRID.mean()
    rest = GRID - rows[:, None] - columns + mean
    return 4 * rows.var(ddof=1), 3 * columns.var(ddof=1), float((rest**2).sum() / 6)


def test_the_error_of_a_full_grid_is_that_of_its_mean_squares() -> None:
    start, order, rest = mean_squares()
    estimate = mean_error(VALUES, CELLS)
    assert estimate.error == pytest.approx(math.sqrt((start + order - rest) / 12), rel=1e-9)
    wanted = (start + order - rest) ** 2 / (start**2 / 2 + order**2 / 3 + rest**2 / 6)
    assert estimate.freedom == pytest.approx(max(2, wanted), rel=1e-9)


def test_interval_and_p_are_students_with_that_error() -> None:
    estimate, half = mean_error(VALUES, CELLS), None
    half = stats.t.ppf(0.975, estimate.freedom) * estimate.error
    assert mean_interval(VALUES, CELLS) == pytest.approx([GRID.mean() - half, GRID.mean() + half], abs=1e-12)
    centred = [value - 0.7 for value in VALUES]
    p = mean_p(centred, CELLS)
    assert p == pytest.approx(2 * stats.t.sf((GRID.mean() - 0.7) / estimate.error, estimate.freedom), rel=1e-9)
    low, high = mean_interval(centred, CELLS, 1 - p) or (1.0, 1.0)
    assert min(abs(low), abs(high)) == pytest.approx(0, abs=1e-9)


def test_the_order_of_runs_changes_nothing_and_a_gap_is_no_obstacle() -> None:
    assert mean_error(VALUES[::-1], CELLS[::-1]) == pytest.approx(mean_error(VALUES, CELLS), rel=1e-9)
    gap = mean_error(VALUES[1:], CELLS[1:])
    assert gap.error == pytest.approx(mean_error(VALUES, CELLS).error, rel=0.2)
    corner = mean_error(*zip(*[(GRID[i, j], (i, j)) for i, j in [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0)]], strict=True))
    between = (3 * 0.0043 + 4 * 0.002775) / 7  # half the mean square of pairs with two starts; orders bring nothing
    within = 0.0007 / 3
    assert corner.error == pytest.approx(math.sqrt(((between - within) * (9 + 1 + 1) + within * 5) / 25), rel=1e-9)


def test_an_axis_that_brings_nothing_is_pooled_with_the_rest() -> None:
    """One-way analysis of variance: the orders' mean square, with the orders' degrees of freedom."""
    grid = np.array([[0.70, 0.74, 0.63], [0.71, 0.73, 0.65], [0.69, 0.75, 0.64], [0.71, 0.74, 0.64]])
    cells = list(product(range(4), range(3)))
    estimate = mean_error(grid.ravel().tolist(), cells)
    assert estimate.error == pytest.approx(math.sqrt(4 * grid.mean(0).var(ddof=1) / 12), rel=1e-9)
    assert estimate.freedom == pytest.approx(2, rel=1e-9)


def test_where_neither_axis_brings_anything_the_runs_are_as_good_as_independent() -> None:
    square = np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 1.0], [3.0, 1.0, 2.0]])  # a Latin square: all margins are equal
    estimate = mean_error(square.ravel().tolist(), list(product(range(3), range(3))))
    assert estimate == pytest.approx((math.sqrt(square.var(ddof=1) / 9), 8), rel=1e-9)


@pytest.mark.parametrize("sizes", [(2, 4), (4, 2), (2, 2)])
def test_two_seeds_on_an_axis_do_not_tell_how_much_seeds_differ(sizes: tuple[int, int]) -> None:
    cells = list(product(range(sizes[0]), range(sizes[1])))
    values = GRID.ravel().tolist()[: len(cells)]
    assert not are_told_apart(cells)
    assert (mean_interval(values, cells), mean_p(values, cells)) == (None, None)


def test_runs_that_cannot_tell_the_axes_apart_have_no_interval() -> None:
    cells, values = [(0, 0), (0, 1), (1, 2)], [0.70, 0.72, 0.75]
    assert are_crossed(cells)
    assert not are_told_apart(cells)
    assert mean_interval(values, cells) is None
    assert mean_p(values, cells) is None


@pytest.mark.parametrize(
    "cells", [[(0, 0), (1, 1), (2, 2)], [(0, 0), (0, 1), (0, 2)], [(0, 5), (1, 5), (2, 5)], [(0, 1), (1, 0), (2, 2)]]
)
def test_runs_of_plain_seeds_or_of_one_axis_are_independent(cells: list[tuple[int, int]]) -> None:
    values = [0.70, 0.73, 0.75]
    assert not are_crossed(cells)
    assert mean_interval(values, cells) == t_interval(values)
    assert mean_p(values, cells) == paired_p(values)


def test_equal_values_have_no_error_to_divide_by() -> None:
    assert mean_interval([0.5] * 12, CELLS) is None
    assert mean_p([0.0] * 12, CELLS) == 1.0
    assert mean_p([0.01] * 12, CELLS) == 0.25  # the sign test of three runs, the seeds of the shorter axis
    few = [cell for cell in CELLS if cell[0] < 2]
    assert (mean_p([0.0] * 8, few), mean_p([0.01] * 8, few), mean_interval([0.5] * 8, few)) == (1.0, None, None)


def test_a_comparison_over_crossed_seeds_knows_what_they_share() -> None:
    cells = dict(enumerate(CELLS))
    first, second = dict(enumerate(VALUES)), dict.fromkeys(range(12), 0.69)
    crossed, alone = difference(("a", "b"), first, second, cells), difference(("a", "b"), first, second)
    assert crossed["interval"] == mean_interval([value - 0.69 for value in VALUES], CELLS)
    assert (crossed["p"] or 0) > (alone["p"] or 0)
    for figure in ("bootstrap", "detectable", "seeds_for_one_point"):
        assert crossed[figure] is None
        assert alone[figure] is not None


def test_a_sweep_over_seed_axes_has_intervals_that_know_what_runs_share() -> None:
    def row(method: str, cell: tuple[int, int], accuracy: float) -> dict[str, object]:
        seed = 1000000 + 1000 * cell[0] + cell[1]
        run = {"run_key": f"{method}-{seed}", "task": "t", "method": method, "lr": 0.1, "status": "committed"}
        run |= {"seed": seed, "init_seed": cell[0], "data_seed": cell[1], "accuracy": accuracy}
        return run | dict.fromkeys(("validation_accuracy", "train_loss_volatility", "train_loss_change"), accuracy) | {
            "train_seconds": 1.0, "trainable_parameters": 1, "base_accuracy": 0.5}  # fmt: skip

    rows = [row("a", cell, value) for cell, value in zip(CELLS, VALUES, strict=True)]
    rows += [row("b", cell, 0.69 + 0.001 * cell[1]) for cell in CELLS]
    summary = summary_of(rows, {})
    method = summary["tasks"]["t"]["methods"]["a"]
    assert method["interval"] == mean_interval(VALUES, CELLS)
    assert method["bootstrap"] is None
    few = summary_of([one for one in rows if one["data_seed"] < 2], {})
    assert "not comparable (too few seeds to tell two axes apart) with" in few["headline"]
    macro = summary["macro"]["methods"]["a"]
    assert macro["interval"] == mean_interval(VALUES, CELLS)
    assert (macro["bootstrap"], macro["iqm_interval"]) == (None, None)
    assert summary["macro"]["improvement"][0]["interval"] is None
