"""The first step at which losses differ is named exactly; what is not known is not made up."""

from __future__ import annotations

import math

from orchestrator.nightly.outcome.steps import with_steps
from orchestrator.verdict.verdict import Bytes

CELL = ("t", "lora")
DIFFER = Bytes(False, "2026-11-27", True, run=1)


def steps(
    before: list[float], now: list[float], differ: Bytes = DIFFER
) -> tuple[int | None, float | None, float | None]:
    there = with_steps(differ, CELL, {(*CELL, 1): before}, {(*CELL, 1): now})
    return there.first_step, there.step_before, there.step_after


def test_the_first_step_that_differs_in_its_last_bit_is_named_with_both_losses() -> None:
    moved = math.nextafter(0.25, 1)
    assert steps([0.5, 0.25, 0.125], [0.5, moved, 0.125]) == (2, 0.25, moved)


def test_equal_losses_under_other_bytes_name_no_step() -> None:
    assert steps([0.5, 0.25], [0.5, 0.25]) == (None, None, None)


def test_a_run_that_ended_sooner_differs_at_the_step_that_it_lacks() -> None:
    assert steps([0.5, 0.25], [0.5]) == (2, 0.25, None)


def test_losses_that_are_gone_name_no_step() -> None:
    assert with_steps(DIFFER, CELL, {}, {(*CELL, 1): [0.5]}) == DIFFER
    assert with_steps(DIFFER, CELL, {(*CELL, 1): [0.5]}, {}) == DIFFER


def test_equal_bytes_are_not_looked_into() -> None:
    assert steps([0.5], [0.25], Bytes(True, "2026-11-27")) == (None, None, None)
