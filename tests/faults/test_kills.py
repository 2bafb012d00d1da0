"""Sweeps that are killed again and again end with the bits of an undisturbed sweep (K4 and K5)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.kills import Instant, at_steps, job_words, kill_driver, until_done
from tests.helpers.nothing_lost import assert_nothing_lost, resumed
from tests.helpers.sweeps import RECIPE

pytestmark = pytest.mark.slow

LONG = ("tasks=[tiny_recall]", "seeds=[0]", "engine.checkpoint_seconds=2", "tracking.uri=none", "optim.epochs=200")
STEPS = 2 * 600  # of both runs


def places(tmp_path: Path, base: Path) -> dict[str, Path]:
    """Return two recipes that differ in their places alone."""
    recipes = {}
    for name in ("golden", "killed"):
        (tmp_path / name).mkdir()
        recipes[name] = tmp_path / name / "small.yaml"
        recipes[name].write_text(RECIPE.format(base=base, place=tmp_path / name))
    return recipes


def spread(sweep: Path, seed: int, kills: int, steps: int) -> Iterator[Instant]:
    """Yield instants at drawn numbers of steps, one in each of as many equal parts of the sweep's steps."""
    drawn = random.Random(seed)
    for number in range(kills):
        yield at_steps(sweep, (steps * number + drawn.randrange(steps)) // kills)


def sweep_of(recipe: Path) -> Path:
    return recipe.parent / "sweeps" / "small"


def test_a_local_sweep_whose_driver_is_killed_ends_as_if_it_had_not_been(tmp_path: Path, small_base: Path) -> None:
    recipes = places(tmp_path, small_base)
    golden, killed = sweep_of(recipes["golden"]), sweep_of(recipes["killed"])
    until_done(job_words(recipes["golden"], *LONG), iter(()), kill_driver)
    score = until_done(job_words(recipes["killed"], *LONG), spread(killed, seed=0, kills=3, steps=STEPS), kill_driver)
    assert len(score.disturbed) >= 2, score
    assert any(resumed(killed).values())
    assert_nothing_lost(killed, golden)
