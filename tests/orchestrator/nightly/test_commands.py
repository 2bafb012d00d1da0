"""The commands that a night prints are commands: they can be given as they stand, and do what they say."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.nightly.canary import canary_of
from orchestrator.nightly.commands import bisect_command, repeat_command, roll_back_command
from orchestrator.recipe.read import read_recipe
from orchestrator.store.nights_folder import NightFolder
from orchestrator.verdict.verdict import Change
from tests.helpers.places import ROOT

NIGHT = NightFolder(Path("sweeps/small/nights/2026-11-28"))
COMMIT = Change("commit", "commit", "a" * 40, "b" * 40 + " with changes", "2026-11-28")
TORCH = Change("version", "torch", "2.12", "2.13", "2026-11-28")


def command(recipe: Path, *words: str) -> str:
    return shlex.join(["python", "jobs/nightly.py", str(recipe), "night=2026-11-28", *words])


def test_a_cell_is_repeated_with_the_nights_seeds_under_a_name_of_its_own(recipe: Path) -> None:
    spec = read_recipe(recipe, ("optim.lr=[1e-3, 5e-3]",))
    words = shlex.split(repeat_command(command(recipe, "optim.lr=[1e-3, 5e-3]"), spec, NIGHT, ("tiny_above", "lora")))
    assert words[:3] == ["python", "jobs/sweep.py", str(recipe)]
    assert not any(word.startswith("night=") for word in words)
    again, canary = read_recipe(recipe, words[3:]), canary_of(spec, NIGHT)
    assert again.name.startswith("again-2026-11-28-")
    assert [task.name for task in again.tasks] == ["tiny_above"]
    assert [method.decides() for method in again.methods] == [canary.methods[1].decides()]
    assert (again.seeds, again.optim.lr, again.cluster.pack) == (canary.seeds, 1e-3, 1)
    assert (again.champions, again.tracking.uri) == (False, "none")
    other = repeat_command(command(recipe), spec, NIGHT, ("tiny_recall", "lora"))
    assert read_recipe(recipe, shlex.split(other)[3:]).name != again.name


@pytest.mark.slow
@pytest.mark.rare
def test_the_command_that_repeats_a_cell_runs_as_it_is_printed(recipe: Path) -> None:
    spec = read_recipe(recipe, ())
    _, *words = shlex.split(repeat_command(command(recipe), spec, NIGHT, ("tiny_above", "d2lora")))
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, capture_output=True, timeout=300)
    (rows,) = Path(spec.storage).glob("again-*/results.jsonl")
    assert [json.loads(row)["status"] for row in rows.read_text().splitlines()] == ["committed", "committed"]


def test_the_command_that_bisects_names_commits_first_then_versions(recipe: Path) -> None:
    cell = ("tiny_above", "lora")
    assert bisect_command(command(recipe), cell, []) is None
    words = shlex.split(bisect_command(command(recipe), cell, [TORCH, COMMIT]) or "")
    assert words == [
        "python",
        "jobs/nightly.py",
        str(recipe),
        "--cell",
        "tiny_above/lora",
        "--bisect",
        f"{'a' * 12}..{'b' * 12}",
    ]
    words = shlex.split(bisect_command(command(recipe, "seeds=[1]"), cell, [TORCH]) or "")
    assert words[2:4] == [str(recipe), "seeds=[1]"]
    assert words[-3:] == ["--python", "ENV-torch-2.12/bin/python", "ENV-torch-2.13/bin/python"]


def test_the_command_that_rolls_back_names_the_task(recipe: Path) -> None:
    assert shlex.split(roll_back_command(command(recipe), "tiny_above")) == [
        "python", "jobs/roll_back.py", str(recipe), "task=tiny_above",
    ]  # fmt: skip
