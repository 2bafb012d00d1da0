"""One sweep undisturbed, and the same sweep disturbed, each in a place of its own; both have to end alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tests.helpers.faults.kills import Disturb, Instant, Score, job_words, kill_driver, steps_done, until_done
from tests.helpers.faults.nothing_lost import assert_nothing_lost
from tests.helpers.sweeps import RECIPE

if TYPE_CHECKING:
    from tests.faults.scorecard import Scorecard


class Twins:
    """The recipe `RECIPE` twice; what is done to one of them is counted in the scorecard."""

    def __init__(self, place: Path, base: Path, scorecard: Scorecard) -> None:
        self.scorecard, self.recipes = scorecard, dict[str, Path]()
        for name in ("golden", "disturbed"):
            (place / name).mkdir(parents=True)
            self.recipes[name] = place / name / "small.yaml"
            self.recipes[name].write_text(RECIPE.format(base=base, place=place / name))
        self.golden, self.disturbed = (path.parent / "sweeps" / "small" for path in self.recipes.values())

    def undisturbed(self, *words: str) -> int:
        """Run the golden sweep; return its steps."""
        until_done(job_words(self.recipes["golden"], *words), iter(()), kill_driver, sweep=self.golden)
        return steps_done(self.golden)

    def compare(
        self, words: Sequence[str], instants: Iterator[Instant], disturb: Disturb, *, seed: int, limit: float = 900.0
    ) -> Score:
        """Run the disturbed sweep to its end; AssertionError unless it has all that the golden one has, once."""
        recipe = self.recipes["disturbed"]
        score = until_done(job_words(recipe, *words), instants, disturb, sweep=self.disturbed, limit=limit)
        self.scorecard.recoveries += score.recoveries
        self.scorecard.seeds.add(seed)
        try:
            assert_nothing_lost(self.disturbed, self.golden)
        except AssertionError:
            self.scorecard.lost += 1
            raise
        return score
