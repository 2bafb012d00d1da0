"""The learning rate at each step: warm-up, then decay."""

from __future__ import annotations

import math

import pytest

from orchestrator.train.schedule import rate_at


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_the_rate_warms_up_in_equal_steps_to_its_peak(schedule: str) -> None:
    rates = [rate_at(step, 100, peak=2e-4, warmup=0.1, schedule=schedule) for step in range(100)]  # type: ignore[arg-type]
    assert rates[:10] == pytest.approx([2e-5 * (step + 1) for step in range(10)], rel=1e-12)
    assert rates[10] == pytest.approx(2e-4, rel=1e-12)
    assert max(rates) == pytest.approx(2e-4, rel=1e-12)
    assert min(rates) > 0


def test_the_decay_is_half_way_in_the_middle_and_all_but_over_at_the_end() -> None:
    def rate(step: int, schedule: str) -> float:
        return rate_at(step, 100, peak=1.0, warmup=0.0, schedule=schedule)  # type: ignore[arg-type]

    assert [rate(0, name) for name in ("cosine", "linear", "constant")] == [1.0, 1.0, 1.0]
    assert [rate(50, name) for name in ("cosine", "linear", "constant")] == pytest.approx([0.5, 0.5, 1.0], abs=1e-12)
    assert rate(99, "linear") == pytest.approx(0.01, abs=1e-12)
    assert rate(99, "cosine") == pytest.approx(0.5 * (1 + math.cos(0.99 * math.pi)), abs=1e-12)
    assert rate(25, "cosine") == pytest.approx(0.5 + math.sqrt(2) / 4, abs=1e-12)
    assert rate(99, "constant") == 1.0


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_training_of_hardly_any_steps_has_a_rate_at_each(steps: int) -> None:
    for warmup in (0.0, 0.03, 0.99):
        rates = [rate_at(step, steps, peak=1.0, warmup=warmup, schedule="cosine") for step in range(steps)]
        assert all(0 < rate <= 1 for rate in rates)
