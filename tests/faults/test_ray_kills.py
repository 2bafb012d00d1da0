"""Sweeps on Ray whose trainers or drivers are killed again and again end with the bits of undisturbed ones (K4, K5)."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from orchestrator.cluster.session.temporary import remove_abandoned
from tests.faults.scorecard import Scorecard
from tests.helpers.faults.kills import Instant, Job, after_seconds, kill_driver, spread
from tests.helpers.faults.nothing_lost import resumed
from tests.helpers.faults.strikes import RANK, TrainerStrikes
from tests.helpers.faults.tracked_once import assert_tracked_once
from tests.helpers.faults.twins import Twins

pytestmark = [pytest.mark.ray, pytest.mark.rare, pytest.mark.timeout(1200)]

LONG = ("tasks=[tiny_recall]", "seeds=[0]", "engine.checkpoint_seconds=2", "cluster.kind=ray", "champions=false")
ONE = (*LONG, "cluster.max_concurrent=1")
ZERO = (*LONG, "cluster.workers=2", "engine.kind=zero", "engine.stage=2")
FOLDERS = (("ray-", "/tmp"), ("d2lora-token-", None))  # what a killed driver leaves
UNTRACKED = "tracking.uri=none"


@pytest.mark.parametrize(
    ("words", "epochs", "times"),
    [pytest.param(ONE, 150, 12, id="single"), pytest.param(ZERO, 100, 6, id="zero-2 on two workers")],
)
def test_trainers_that_are_killed_lose_nothing(twins: Twins, words: tuple[str, ...], epochs: int, times: int) -> None:
    words = (*words, f"optim.epochs={epochs}")
    steps = twins.undisturbed(*words, UNTRACKED)
    strikes = TrainerStrikes(twins.disturbed, RANK, steps, times, seed=4)
    twins.compare(words, iter([after_seconds(0)]), strikes, seed=4)
    twins.scorecard.kills += sum(strikes.strikes)
    twins.scorecard.recoveries += strikes.recoveries
    assert len(strikes.strikes) >= times - 1
    assert all(len(steps) >= times // 2 for steps in resumed(twins.disturbed).values())
    assert_tracked_once(f"sqlite:///{twins.disturbed.parents[1]}/mlflow.db", twins.disturbed)


@pytest.mark.parametrize(
    ("words", "epochs", "times"),
    [pytest.param(ONE, 100, 4, id="single"), pytest.param(ZERO, 60, 2, id="zero-2 on two workers")],
)
def test_a_driver_that_is_killed_loses_nothing_and_the_next_removes_what_it_left(
    twins: Twins, words: tuple[str, ...], epochs: int, times: int
) -> None:
    words, before = (*words, f"optim.epochs={epochs}"), shared_memory()
    steps = twins.undisturbed(*words, UNTRACKED)
    score = twins.compare(words, spread(twins.disturbed, 5, times, steps), kill_driver, seed=5)
    twins.scorecard.kills += len(score.disturbed)
    assert len(score.disturbed) >= times - 1, score
    assert any(resumed(twins.disturbed).values())
    assert_tracked_once(f"sqlite:///{twins.disturbed.parents[1]}/mlflow.db", twins.disturbed)
    assert_left_nothing(twins.scorecard, before)


def test_a_driver_that_is_killed_as_a_run_is_committed_trains_it_no_more(twins: Twins) -> None:
    words = (*ONE, UNTRACKED, "cluster.pack=1", "seeds=[0, 1]", "optim.epochs=6")
    before = shared_memory()
    twins.undisturbed(*words, "cluster.kind=local")
    kept: dict[str, int] = {}

    def kill(job: Job, mark: str) -> str:
        time.sleep(random.Random(len(kept)).uniform(0, 0.9))
        kept.update(committed(twins.disturbed))
        return kill_driver(job, mark)

    instants = (at_commits(twins.disturbed, number) for number in (1, 3))
    score = twins.compare(words, instants, kill, seed=0)
    twins.scorecard.kills += len(score.disturbed)
    assert kept, score
    again = [key for key, when in kept.items() if committed(twins.disturbed)[key] != when]
    twins.scorecard.doubled += len(again)
    assert again == []
    assert_left_nothing(twins.scorecard, before)


def committed(sweep: Path) -> dict[str, int]:
    """Return when each committed run was committed."""
    return {path.parent.name: path.stat().st_mtime_ns for path in sweep.glob("runs/*/COMMITTED.json")}


def at_commits(sweep: Path, number: int) -> Instant:
    """Return the instant at which so many runs are committed."""

    def wait(job: Job) -> bool:
        while job.poll() is None:
            if len(committed(sweep)) >= number:
                return True
            time.sleep(0.02)
        return False

    return wait


def shared_memory() -> set[str]:
    return {path.name for path in Path("/dev/shm").iterdir()}


def assert_left_nothing(scorecard: Scorecard, before: set[str]) -> None:
    """Check that nothing of killed drivers is left: no shared memory, and no folder, because the last start reaps."""
    left = [str(count) for prefix, place in FOLDERS if (count := remove_abandoned(prefix, place))]
    left += sorted(shared_memory() - before)
    scorecard.orphans += len(left)
    assert left == []
