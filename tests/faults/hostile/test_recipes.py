"""Malformed recipes: refused with file and line and a remedy, or understood; never a traceback, never slow."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.plan.runs import expand
from orchestrator.recipe.spec import SweepSpec
from tests.faults.hostile.recipes import GOOD, dumped, recipes
from tests.faults.hostile.verdict import Outcome, end_of_job, together, tree
from tests.faults.scorecard import CARD

ACCEPTED = 0


def reads(spec: SweepSpec, command: str, console: Console) -> int:
    """A job that plans the runs and does nothing."""
    del command, console
    assert expand(spec)
    return ACCEPTED


def judged(file: Path, outcome: Outcome) -> list[str]:
    """Return the faults of an outcome; a recipe that is accepted has only to be accepted quickly."""
    if outcome.code == ACCEPTED:
        return [f"{outcome.seconds:.1f} s"] if outcome.slow else []
    return outcome.faults(rf"{re.escape(str(file))}:\d+|{re.escape(str(file))}: ")


def corpus(count: int, seed: int, folder: Path) -> tuple[str, Counter[int]]:
    file = folder / "recipe.yaml"
    before, results, codes = tree(folder, Path.cwd() / "tests" / "faults"), [], Counter[int]()
    for name, content in recipes(count, seed):
        file.write_bytes(content)
        outcome = end_of_job(reads, [str(file)])
        codes[outcome.code] += 1
        results.append((name, judged(file, outcome), outcome.told))
    assert tree(folder, Path.cwd() / "tests" / "faults") - before <= {str(file)}
    CARD.hostile(results)
    return together(results), codes


def test_the_recipe_that_is_spoiled_is_a_good_one(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_bytes(dumped(GOOD))
    assert end_of_job(reads, [str(file)]).code == ACCEPTED


def test_500_malformed_recipes_are_refused_with_place_and_remedy(tmp_path: Path) -> None:
    faults, codes = corpus(500, 0, tmp_path)
    assert not faults, faults
    assert codes[2] >= 450, codes


@pytest.mark.slow
@pytest.mark.rare
@pytest.mark.parametrize("seed", range(1, 6))
def test_2000_more(seed: int, tmp_path: Path) -> None:
    faults, _ = corpus(2000, seed, tmp_path)
    assert not faults, faults
