"""Malformed rows: refused before anything starts, with file and line and a remedy; never a traceback, never slow."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.driver.prepare import make_ready
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.sweep_folder import SweepFolder
from tests.faults.hostile.data_sets import GOOD, DataSet, content, data_sets
from tests.faults.hostile.verdict import Outcome, end_of_job, together, tree
from tests.faults.scorecard import CARD

ACCEPTED = 0


def prepares(spec: SweepSpec, command: str, console: Console) -> int:
    """A job that makes everything ready that trainers need, and trains nothing."""
    del command, console
    make_ready(spec, SweepFolder.of(spec).cache, lambda line: None)
    return ACCEPTED


def attempt(recipe: Path, folder: Path, case: DataSet) -> tuple[Outcome, list[str]]:
    """Return the outcome of a job on one data set, and its faults."""
    folder.mkdir(parents=True)
    file = folder / "mine.jsonl"
    case.make(file)
    keys = f", {case.keys}".replace("SAME", str(file)) if case.keys else ""
    outcome = end_of_job(prepares, [str(recipe), f"tasks=[{{name: mine, path: {file}{keys}}}]"])
    if outcome.code == ACCEPTED:
        return outcome, ["accepted"] * case.bad
    return outcome, outcome.faults(rf"{re.escape(str(file))}|gone.jsonl|[Ss]plit '|argument")


def corpus(count: int, seed: int, recipe: Path, folder: Path) -> tuple[str, Counter[int]]:
    results, codes = [], Counter[int]()
    for number, case in enumerate(data_sets(count, seed)):
        outcome, faults = attempt(recipe, folder / str(number), case)
        codes[outcome.code] += 1
        results.append((case.name, faults, outcome.told))
    assert not Path("touched-by-rows").exists()
    CARD.hostile(results)
    return together(results), codes


def test_the_rows_that_are_spoiled_are_good_ones(recipe: Path, tmp_path: Path) -> None:
    assert attempt(recipe, tmp_path / "good", DataSet("good", content(GOOD)))[0].code == ACCEPTED


def test_150_malformed_data_sets_are_refused_with_place_and_remedy(recipe: Path, tmp_path: Path) -> None:
    before = tree(tmp_path)
    faults, codes = corpus(150, 0, recipe, tmp_path / "rows")
    assert not faults, faults
    assert codes[2] >= 120, codes
    inside = (f"{tmp_path}/rows", f"{tmp_path}/sweeps")
    assert not {name for name in tree(tmp_path) - before if not name.startswith(inside)}


@pytest.mark.slow
@pytest.mark.rare
def test_500_more(recipe: Path, tmp_path: Path) -> None:
    faults, _ = corpus(650, 1, recipe, tmp_path / "rows")
    assert not faults, faults
