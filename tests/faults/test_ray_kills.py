"""Sweeps on Ray whose trainers or drivers are killed again and again end with the bits of undisturbed ones (K4, K5)."""

from __future__ import annotations

import pytest

from tests.helpers.kills import after_seconds
from tests.helpers.nothing_lost import resumed
from tests.helpers.strikes import SINGLE, WORKER, TrainerStrikes
from tests.helpers.tracked_once import assert_tracked_once
from tests.helpers.twins import Twins

pytestmark = [pytest.mark.ray, pytest.mark.rare, pytest.mark.timeout(1200)]

LONG = ("tasks=[tiny_recall]", "seeds=[0]", "engine.checkpoint_seconds=2", "cluster.kind=ray", "champions=false")
ONE = (*LONG, "cluster.max_concurrent=1")
ZERO = (*LONG, "cluster.workers=2", "engine.kind=zero", "engine.stage=2")
UNTRACKED = "tracking.uri=none"


@pytest.mark.parametrize(
    ("words", "title", "epochs", "times"),
    [
        pytest.param(ONE, SINGLE, 150, 12, id="single"),
        pytest.param(ZERO, WORKER, 100, 6, id="zero-2 on two workers"),
    ],
)
def test_trainers_that_are_killed_lose_nothing(
    twins: Twins, words: tuple[str, ...], title: str, epochs: int, times: int
) -> None:
    words = (*words, f"optim.epochs={epochs}")
    steps = twins.undisturbed(*words, UNTRACKED)
    strikes = TrainerStrikes(twins.disturbed, title, steps, times, seed=4)
    twins.compare(words, iter([after_seconds(0)]), strikes, seed=4)
    twins.scorecard.kills += sum(strikes.strikes)
    twins.scorecard.recoveries += strikes.recoveries
    assert len(strikes.strikes) >= times - 1
    assert all(len(steps) >= times // 2 for steps in resumed(twins.disturbed).values())
    assert_tracked_once(f"sqlite:///{twins.disturbed.parents[1]}/mlflow.db", twins.disturbed)
