"""Ctrl-C and SIGTERM save the runs at work: the job says so, and the same command goes on from that very step (K11)."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.faults.kills import Disturb, Instant, at_steps, job_words, until_done
from tests.helpers.faults.nothing_lost import assert_nothing_lost, resumed
from tests.helpers.sweeps import RECIPE

LONG = ("tasks=[tiny_recall]", "seeds=[0]", "tracking.uri=none", "champions=false", "optim.epochs=30")
NO_PAUSE = "engine.checkpoint_seconds=3600"  # so that only a stop saves
AT = (40, 120)  # of the 180 steps of both runs: where each start is stopped


def sends(number: signal.Signals) -> Disturb:
    def send(job: subprocess.Popen[str], mark: str) -> str:
        job.send_signal(number)
        return number.name

    return send


def instants(sweep: Path) -> Iterator[Instant]:
    yield from (at_steps(sweep, steps) for steps in AT)


CASES = [
    pytest.param(signal.SIGTERM, 143, ("cluster.kind=local",), marks=pytest.mark.slow, id="local-SIGTERM"),
    pytest.param(
        signal.SIGINT, 130, ("cluster.kind=local",), marks=[pytest.mark.slow, pytest.mark.rare], id="local-SIGINT"
    ),
    pytest.param(
        signal.SIGTERM,
        143,
        ("cluster.kind=ray", "cluster.max_concurrent=1"),
        marks=[pytest.mark.ray, pytest.mark.rare],
        id="ray-SIGTERM",
    ),
    pytest.param(
        signal.SIGINT,
        130,
        ("cluster.kind=ray", "cluster.workers=2", "engine.kind=zero", "engine.stage=2"),
        marks=[pytest.mark.ray, pytest.mark.rare],
        id="ray-zero-SIGINT",
    ),
]


@pytest.mark.parametrize(("sent", "code", "words"), CASES)
def test_a_signal_saves_the_runs_and_the_same_command_goes_on_from_there(
    tmp_path: Path, small_base: Path, sent: signal.Signals, code: int, words: tuple[str, ...]
) -> None:
    recipes = {}
    for name in ("golden", "stopped"):
        (tmp_path / name).mkdir()
        recipes[name] = tmp_path / name / "small.yaml"
        recipes[name].write_text(RECIPE.format(base=small_base, place=tmp_path / name))
    golden, stopped = (recipes[name].parent / "sweeps" / "small" for name in ("golden", "stopped"))
    until_done(job_words(recipes["golden"], *LONG, *words), iter(()), sends(sent), sweep=golden)
    score = until_done(
        job_words(recipes["stopped"], *LONG, NO_PAUSE, *words), instants(stopped), sends(sent), sweep=stopped
    )
    assert score.codes == [code, code, 0], score
    assert_nothing_lost(stopped, golden)
    steps = list(resumed(stopped).values())
    assert all(len(went_on) == 2 for went_on in steps), steps  # at each stop both runs were saved
    assert all(sum(run[stop] for run in steps) >= AT[stop] for stop in range(2)), steps
