"""Sweeps that are killed again and again end with the bits of an undisturbed sweep (K4 and K5)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.scorecard import Scorecard
from tests.helpers.kills import Disturb, Score, job_words, kill_driver, spread, steps_done, until_done
from tests.helpers.nothing_lost import assert_nothing_lost, resumed
from tests.helpers.sweeps import RECIPE

pytestmark = pytest.mark.slow

LONG = ("tasks=[tiny_recall]", "seeds=[0]", "engine.checkpoint_seconds=2", "optim.epochs=200")


class Twins:
    """One sweep undisturbed, and the same sweep disturbed, each in a place of its own."""

    def __init__(self, place: Path, base: Path, scorecard: Scorecard) -> None:
        self.scorecard, self.sweeps, self._recipes = scorecard, dict[str, Path](), dict[str, Path]()
        for name in ("golden", "disturbed"):
            (place / name).mkdir()
            self._recipes[name] = place / name / "small.yaml"
            self._recipes[name].write_text(RECIPE.format(base=base, place=place / name))
            self.sweeps[name] = place / name / "sweeps" / "small"

    def compare(self, *words: str, disturb: Disturb, times: int, seed: int) -> Score:
        """Run both; AssertionError unless the disturbed sweep has all that the undisturbed one has, once."""
        golden, disturbed = self.sweeps.values()
        until_done(job_words(self._recipes["golden"], *words), iter(()), disturb, sweep=golden)
        instants = spread(disturbed, seed, times, steps_done(golden))
        score = until_done(job_words(self._recipes["disturbed"], *words), instants, disturb, sweep=disturbed)
        self.scorecard.kills += len(score.disturbed)
        self.scorecard.recoveries += score.recoveries
        self.scorecard.seeds.add(seed)
        assert len(score.disturbed) >= times - 1, score
        assert_nothing_lost(disturbed, golden)
        return score


@pytest.fixture
def twins(tmp_path: Path, small_base: Path, scorecard: Scorecard) -> Twins:
    return Twins(tmp_path, small_base, scorecard)


def test_a_local_sweep_whose_driver_is_killed_ends_as_if_it_had_not_been(twins: Twins) -> None:
    twins.compare(*LONG, disturb=kill_driver, times=3, seed=0)
    assert any(resumed(twins.sweeps["disturbed"]).values())


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
    twins.compare(*words, disturb=kill_driver, times=5, seed=1)
