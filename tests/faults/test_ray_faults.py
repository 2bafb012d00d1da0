"""Real sweeps on Ray whose ranks stop, whose head dies, and whose files of Tune are damaged end as undisturbed ones."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from orchestrator.store.run_folder import RunFolder
from tests.faults.scorecard import Scorecard
from tests.helpers.faults.damage import damage
from tests.helpers.faults.kills import (
    Instant,
    Job,
    after_seconds,
    at_steps,
    job_words,
    kill_driver,
    processes,
    until_done,
)
from tests.helpers.faults.nothing_lost import resumed, runs_of
from tests.helpers.faults.strikes import RANK, TrainerStrikes
from tests.helpers.faults.twins import Twins

pytestmark = [pytest.mark.ray, pytest.mark.rare, pytest.mark.timeout(900)]

LONG = ("tasks=[tiny_recall]", "seeds=[0]", "cluster.kind=ray", "champions=false", "tracking.uri=none")
ONE = (*LONG, "engine.checkpoint_seconds=2", "cluster.max_concurrent=1", "optim.epochs=60")
ZERO = (*LONG, "engine.checkpoint_seconds=2", "cluster.workers=2", "engine.kind=zero", "engine.stage=2")


@pytest.mark.parametrize(
    "words",
    [pytest.param(ONE, id="single"), pytest.param((*ZERO, "optim.epochs=40"), id="zero-2 on two workers")],
)
def test_a_rank_that_stops_is_found_within_a_minute_and_its_runs_finish(twins: Twins, words: tuple[str, ...]) -> None:
    """K12: SIGSTOP; the process neither answers nor ends. The minute is from the signal to the pack's return."""
    steps = twins.undisturbed(*words)
    stops = TrainerStrikes(twins.disturbed, RANK, steps, 1, seed=12, sent=signal.SIGSTOP)
    seconds: list[float] = []

    def stop(job: Job, mark: str) -> str:
        told = stops(job, mark)
        begin = time.monotonic()
        while job.poll() is None and any(one.status() == psutil.STATUS_STOPPED for one in alive(mark, RANK)):
            time.sleep(0.1)
        seconds.append(time.monotonic() - begin)
        return told

    score = twins.compare((*words, "cluster.hang_seconds=15"), iter([after_seconds(0)]), stop, seed=12)
    assert stops.strikes == [1]
    assert seconds[0] < 60
    assert score.codes == [0]
    assert "has not answered for" in score.output
    assert all(len(steps) == 1 for steps in resumed(twins.disturbed).values())


def alive(mark: str, title: str) -> Iterator[psutil.Process]:
    """Yield the marked processes with this title that can still be asked."""
    for process in processes(mark, title):
        with suppress(psutil.NoSuchProcess):
            process.status()
            yield process


def test_a_head_that_is_killed_loses_nothing(twins: Twins) -> None:
    """K7: gcs_server and raylet are killed. The packs at work end, or the same command goes on; no process is left."""
    words = (*ONE, "optim.epochs=150")
    steps = twins.undisturbed(*words)

    def kill_head(job: Job, mark: str) -> str:
        heads = [*processes(mark, "gcs_server"), *processes(mark, "raylet/raylet ")]
        for process in heads:
            process.kill()
        twins.scorecard.kills += len(heads)
        return f"{len(heads)} killed"

    score = twins.compare(words, iter([at_steps(twins.disturbed, steps // 2)]), kill_head, seed=7, limit=600)
    assert score.disturbed == ["2 killed"]
    assert 2 not in score.codes  # the recipe was right


def test_a_trainer_that_gets_no_more_memory_ends_and_its_runs_finish(recipe: Path, scorecard: Scorecard) -> None:
    """K16: from a step on the kernel gives one trainer no more memory; its pack is trained again."""
    sweep = recipe.parent / "sweeps" / "small"

    def starve(job: Job, mark: str) -> str:
        (trainer,) = processes(mark, RANK)
        trainer.rlimit(psutil.RLIMIT_AS, (1, 1))
        return "starved"

    score = until_done(job_words(recipe, *ONE), iter([at_steps(sweep, 20)]), starve, sweep=sweep, starts=1)
    rows = [RunFolder(path).row() for path in runs_of(sweep)]
    assert score.disturbed == ["starved"]
    assert [row["status"] for row in rows] == ["committed"] * len(rows)
    assert "failed: " in score.output or "put back" in score.output, score.output


def test_damaged_files_of_tune_have_no_effect(twins: Twins) -> None:
    """K14: between two starts every file of Tune and Train is flipped, cut, filled with zeros or deleted."""
    steps = twins.undisturbed(*ONE)
    spoiled: list[Path] = []

    def instants() -> Iterator[Instant]:
        yield at_steps(twins.disturbed, steps // 3)
        spoiled.extend(spoil(twins.disturbed / ".ray", random.Random(14)))
        yield at_steps(twins.disturbed, 2 * steps // 3)

    score = twins.compare(ONE, instants(), kill_driver, seed=14)
    twins.scorecard.kills += len(score.disturbed)
    assert len(score.codes) == 3
    assert spoiled


def spoil(folder: Path, drawn: random.Random) -> list[Path]:
    """Damage or delete each file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    for file in files:
        if drawn.random() < 0.3:
            file.unlink()
        else:
            damage(file, drawn)
    return files
