"""What a point cost, and what merging changed."""

from __future__ import annotations

from typing import Any, cast

import pytest

from orchestrator.report.gains import merge_verdict, seconds_a_point
from orchestrator.summary.schema import MethodSummary


def method(mean: float | None, base: float | None, seconds: float | None) -> MethodSummary:
    return cast("MethodSummary", {"mean": mean, "base_accuracy": base, "train_seconds": seconds})


def test_a_point_costs_the_seconds_of_a_run_over_the_points_it_gained() -> None:
    assert seconds_a_point(method(0.75, 0.50, 100.0)) == pytest.approx(4.0)


@pytest.mark.parametrize(
    "known", [(0.5, 0.5, 100.0), (0.4, 0.5, 100.0), (None, 0.5, 1.0), (0.6, None, 1.0), (0.6, 0.5, None)]
)
def test_no_gain_and_no_knowledge_have_no_price(known: tuple[float | None, float | None, float | None]) -> None:
    assert seconds_a_point(method(*known)) is None


@pytest.mark.parametrize(
    ("evaluation", "said"),
    [
        ({"item_flips": 0, "items": 384, "gap_points": 0.0}, "the same answer to each of 384 questions."),
        ({"item_flips": 3, "items": 384, "gap_points": -0.26}, "changed 3 of 384 answers, \N{MINUS SIGN}0.26 points."),
    ],
)
def test_merging_is_judged_by_the_answers_it_changed(evaluation: dict[str, Any], said: str) -> None:
    assert str(merge_verdict(evaluation)).endswith(said)


def test_nothing_is_said_of_a_merge_without_figures() -> None:
    assert merge_verdict({"item_flips": None, "items": 3, "gap_points": 0.0}) is None
