"""Sweeps that are killed again and again end with the bits of an undisturbed sweep (K4 and K5)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.scorecard import Scorecard
from tests.helpers.faults.kills import Score, kill_driver, spread
from tests.helpers.faults.nothing_lost import assert_nothing_lost, resumed
from tests.helpers.faults.twins import Twins
from tests.helpers.places import ROOT

pytestmark = pytest.mark.slow

LONG = ("tasks=[tiny_recall]", "seeds=[0]", "engine.checkpoint_seconds=2", "optim.epochs=80")


def compare(twins: Twins, *words: str, times: int, seed: int) -> Score:
    """Run both sweeps, and kill the driver of one so many times."""
    steps = twins.undisturbed(*words)
    score = twins.compare(words, spread(twins.disturbed, seed, times, steps), kill_driver, seed=seed)
    twins.scorecard.kills += len(score.disturbed)
    assert len(score.disturbed) >= times - 1, score
    return score


def test_a_local_sweep_whose_driver_is_killed_ends_as_if_it_had_not_been(twins: Twins) -> None:
    compare(twins, *LONG, times=2, seed=0)
    assert any(resumed(twins.disturbed).values())


SEARCHES = {
    "asha": "search={kind: asha, rung: 0.25, factor: 2}",
    "racing": "search={kind: racing, first: 2}",
    "tpe": "search={kind: tpe, trials: 4, batch: 2}",
}


@pytest.mark.rare
@pytest.mark.parametrize("search", SEARCHES)
def test_a_search_whose_driver_is_killed_decides_as_it_would_have(twins: Twins, search: str) -> None:
    rates = "optim.lr=[1.0e-4, 1.0e-3, 5.0e-3]"
    words = (*LONG, rates, "seeds=[0, 1, 2]", "optim.epochs=60", SEARCHES[search])
    compare(twins, *words, times=5, seed=1)


@pytest.mark.rare
@pytest.mark.timeout(2700)
def test_150_kills_at_any_instant_of_small_sweeps_lose_nothing(
    recipe: Path, tmp_path: Path, scorecard: Scorecard
) -> None:
    """Also while data is prepared, runs are committed, champions are merged and the report is written."""
    words = ("tracking.uri=none", "tasks=[tiny_recall]", "seeds=[0]", "cluster.pack=1")
    words += ("engine.checkpoint_seconds=0.5", "optim.epochs=6")
    program = [sys.executable, "-m", "tests.helpers.programs.forked_sweeps", str(tmp_path), str(recipe), "150", "5"]
    done = subprocess.run([*program, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    scorecard.kills += outcome["kills"]
    scorecard.seeds.add(5)
    for number in range(outcome["sweeps"]):
        assert_nothing_lost(tmp_path / str(number) / "sweeps" / "small", tmp_path / "golden" / "sweeps" / "small")
