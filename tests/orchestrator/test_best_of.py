"""Expected best of n settings against every draw there is."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from orchestrator.best_of import best_of_n
from orchestrator.summary import RateSummary
from orchestrator.variance import summarise_rate


def setting(validation: float, test: float, seeds: int = 2, status: str = "committed") -> RateSummary:
    row: dict[str, Any] = {"run_key": "k", "task": "t", "method": "m", "lr": validation, "status": status}
    row |= {"accuracy": test, "validation_accuracy": validation, "train_seconds": 30.0, "trainable_parameters": 9}
    return summarise_rate([{**row, "seed": seed} for seed in range(seeds)])


RANKED = [setting(0.75, 0.70), setting(0.72, 0.73), setting(0.60, 0.50)]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_curve_is_the_mean_over_every_draw_with_replacement(n: int) -> None:
    draws = [min(drawn) for drawn in product(range(3), repeat=n)]  # the best is the first in rank
    found = best_of_n(RANKED)[n - 1]
    assert found["validation"] == pytest.approx(sum([0.75, 0.72, 0.60][best] for best in draws) / 3**n, abs=1e-12)
    assert found["test"] == pytest.approx(sum([0.70, 0.73, 0.50][best] for best in draws) / 3**n, abs=1e-12)


def test_the_budget_is_given_in_settings_runs_and_seconds() -> None:
    found = best_of_n(RANKED)[1]
    assert (found["n"], found["runs"], found["train_seconds"]) == (2, 4.0, 120.0)


def test_trying_a_setting_more_often_gains_nothing_at_an_equal_budget() -> None:
    twice = [one for one in RANKED for _ in range(2)]
    for n in (1, 2, 3):
        assert best_of_n(twice)[n - 1]["test"] == pytest.approx(best_of_n(RANKED)[n - 1]["test"], abs=1e-12)


def test_the_curve_ends_where_the_evidence_does() -> None:
    assert [one["n"] for one in best_of_n(RANKED)] == [1, 2, 3]
    assert best_of_n([]) == []


def test_a_setting_that_finished_no_run_is_left_out() -> None:
    assert len(best_of_n([*RANKED, setting(0.9, 0.9, status="diverged")])) == 3


def test_expected_validation_never_falls_with_the_budget() -> None:
    curve = [one["validation"] or 0.0 for one in best_of_n(RANKED)]
    assert curve == sorted(curve)
    assert curve[-1] < 0.75  # the best of them is not certain to be drawn
