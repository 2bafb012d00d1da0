"""Expected best of n settings against every draw there is."""

from __future__ import annotations

from itertools import combinations
from statistics import fmean
from typing import Any

import pytest

from orchestrator.summary.best_of import best_of_n
from orchestrator.summary.rates import summarise_rate
from orchestrator.summary.schema import RateSummary


def setting(validation: float, test: float, seeds: int = 2, status: str = "committed") -> RateSummary:
    row: dict[str, Any] = {"run_key": "k", "task": "t", "method": "m", "lr": validation, "status": status}
    row |= {"accuracy": test, "validation_accuracy": validation, "train_seconds": 30.0, "trainable_parameters": 9}
    return summarise_rate([{**row, "seed": seed} for seed in range(seeds)])


RANKED = [setting(0.75, 0.70), setting(0.72, 0.73), setting(0.60, 0.50)]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_curve_is_the_mean_over_every_choice_of_n_settings(n: int) -> None:
    kept = [min(drawn) for drawn in combinations(range(3), n)]  # the best is the first in rank
    expected = best_of_n(RANKED)[n - 1]
    assert expected["validation"] == pytest.approx(fmean([0.75, 0.72, 0.60][best] for best in kept), abs=1e-12)
    assert expected["test"] == pytest.approx(fmean([0.70, 0.73, 0.50][best] for best in kept), abs=1e-12)


def test_the_budget_is_given_in_settings_runs_and_seconds() -> None:
    best = best_of_n(RANKED)[1]
    assert (best["n"], best["runs"], best["train_seconds"]) == (2, 4.0, 120.0)


@pytest.mark.parametrize("few", [2, 4, 7])
def test_having_tried_more_settings_gains_nothing_at_an_equal_n(few: int) -> None:
    """Whoever tried a few of these settings, whichever, has on average the curve of whoever tried them all."""
    many = [setting(0.9 - 0.01 * place**2, 0.5 + 0.3 * (place % 3)) for place in range(8)]
    whole = best_of_n(many)
    curves = [best_of_n(some) for some in combinations(many, few)]
    for n in range(1, few + 1):
        for figure in ("validation", "test"):
            expected = fmean(curve[n - 1][figure] for curve in curves)  # type: ignore[literal-required]
            assert whole[n - 1][figure] == pytest.approx(expected, abs=1e-12)  # type: ignore[literal-required]


def test_the_curve_ends_where_the_evidence_does() -> None:
    assert [one["n"] for one in best_of_n(RANKED)] == [1, 2, 3]
    assert best_of_n([]) == []


def test_a_setting_that_finished_no_run_is_left_out() -> None:
    assert len(best_of_n([*RANKED, setting(0.9, 0.9, status="diverged")])) == 3


def test_expected_validation_never_falls_with_the_budget_and_ends_at_what_was_chosen() -> None:
    curve = best_of_n(RANKED)
    figures = [one["validation"] or 0.0 for one in curve]
    assert figures == sorted(figures)
    assert (curve[-1]["validation"], curve[-1]["test"]) == (0.75, 0.70)
