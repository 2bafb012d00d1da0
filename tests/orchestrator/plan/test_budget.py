"""What a budget pays for: pure arithmetic over seconds and a price."""

from __future__ import annotations

import pytest

from orchestrator.plan.budget import Budget, left_out

BUDGET = Budget(usd=10.0, price=3600.0)  # a worker-second costs one dollar


def test_before_anything_is_measured_one_pack_per_trainer_begins() -> None:
    assert BUDGET.affordable(0.0, None, trainers=3) == 3
    assert BUDGET.affordable(9.9, None, trainers=3) == 3
    assert BUDGET.affordable(10.0, None, trainers=3) == 0


@pytest.mark.parametrize(
    ("spent", "packs", "trainers", "number"),
    [
        (0.0, [1.0] * 7, 1, 7),  # all fit, with a quarter to spare
        (0.0, [1.0] * 8, 1, 5),  # all would fit, but only just: half of the money, then another look
        (0.0, [1.0] * 20, 1, 5),
        (0.0, [1.0] * 20, 8, 8),  # one pack per trainer, where these fit
        (0.0, [4.0] * 20, 8, 2),  # of eight trainers only two can be paid
        (9.0, [2.0, 0.5], 1, 0),  # the next pack does not fit, and none after it is taken in its place
        (10.0, [0.1], 1, 0),
        (12.0, [0.1], 1, 0),  # overspent
    ],
)
def test_packs_begin_as_long_as_the_rest_of_the_money_lasts(
    spent: float, packs: list[float], trainers: int, number: int
) -> None:
    assert BUDGET.affordable(spent, packs, trainers) == number


def test_portions_never_plan_more_than_the_budget() -> None:
    packs, spent = [0.7] * 40, 0.0
    while number := BUDGET.affordable(spent, packs, trainers=4):
        spent += sum(packs[:number])
        packs = packs[number:]
    assert 10.0 - 0.7 < spent <= 10.0


def test_the_reason_names_what_is_spent_and_the_way_on() -> None:
    reason = BUDGET.reason(4.0)
    assert reason.startswith("left out, because budget_usd=10 would be exceeded: 4.00 USD are spent")
    assert "higher budget_usd goes on" in reason
    assert left_out(["something else", reason])
    assert not left_out(["something else"])
