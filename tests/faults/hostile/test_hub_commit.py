"""The commit of a base of the hub stands in sweep.json; a branch that has moved is refused, with the commit to give."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import jobs.sweep
from orchestrator.base.source import resolve_base
from orchestrator.files import read_json
from orchestrator.recipe.sections import ModelSpec
from tests.faults.hostile.verdict import end_of_job

OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
def hub(tmp_path: Path, small_base: Path) -> Path:
    """The hub's cache of this storage, as a download leaves it: two commits of one model; `main` is the first."""
    model = tmp_path / "sweeps" / ".cache" / "models" / "hub" / "models--org--small"
    for commit in (OLD, NEW):
        shutil.copytree(small_base, model / "snapshots" / commit)
    config = model / "snapshots" / NEW / "config.json"
    config.write_text(config.read_text() + "\n")  # other bytes, so another fingerprint
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(OLD)
    return model


def test_a_base_of_the_hub_has_the_commit_of_its_snapshot(hub: Path, tmp_path: Path, small_base: Path) -> None:
    cache = tmp_path / "sweeps" / ".cache" / "models"
    assert resolve_base(ModelSpec(name="org/small"), cache).commit == OLD
    assert resolve_base(ModelSpec(name="org/small", revision=NEW), cache).commit == NEW
    assert resolve_base(ModelSpec(path=str(small_base)), cache).commit is None


@pytest.mark.slow
def test_a_branch_that_has_moved_is_refused_and_the_advice_goes_on(hub: Path, recipe: Path, tmp_path: Path) -> None:
    words = [str(recipe), "model={name: org/small}", "tasks=[tiny_recall]", "methods=[lora]", "seeds=[0]"]
    words += ["tracking.uri=none", "champions=false"]
    assert end_of_job(jobs.sweep.main, words).code == 0
    folder = tmp_path / "sweeps" / "small"
    assert read_json(folder / "sweep.json")["base_commit"] == OLD
    runs = {path.name for path in (folder / "runs").iterdir()}
    (hub / "refs" / "main").write_text(NEW)
    outcome = end_of_job(jobs.sweep.main, words)
    assert outcome.code == 2
    assert f"began with org/small at commit {OLD}, and main is now {NEW}" in outcome.told
    assert f"Give model.revision={OLD} to go on with it" in outcome.told
    assert end_of_job(jobs.sweep.main, [*words, f"model.revision={OLD}"]).code == 0
    assert {path.name for path in (folder / "runs").iterdir()} == runs  # nothing was trained anew
    assert end_of_job(jobs.sweep.main, [*words, f"model.revision={NEW}"]).code == 0  # a choice
