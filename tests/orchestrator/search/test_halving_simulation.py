"""What early stopping keeps and saves on invented learning curves, as docs/results.md tells it."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.simulations.halving import CASES, Case, simulate

WIDE = next(case for case in CASES if case.name == "wide grid, all equally fast")


def test_a_wide_grid_keeps_a_good_setting_whole_at_half_of_the_steps() -> None:
    outcome = simulate(WIDE, 100)
    assert outcome.good > 0.95
    assert 0.4 < outcome.saved < 0.6


def test_many_near_ties_rarely_leave_any_setting_whole_and_what_is_left_leans_upwards() -> None:
    tied = Case("tied", (0.0,) * 8, (0.2,) * 8)
    outcome = simulate(tied, 100)
    assert outcome.all_seeds < 0.5
    assert outcome.lean > 0.1
    assert outcome.lean_whole > 0.1  # what kept all its seeds was selected as well


def test_stopping_more_costs_the_best_setting_more_often_its_seeds() -> None:
    gentle, harsh = (simulate(replace(WIDE, factor=factor, items=100), 100) for factor in (2, 3))
    assert gentle.all_seeds > harsh.all_seeds
