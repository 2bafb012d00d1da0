"""Hostile names and planted links: nothing is made outside the storage, nothing is run, and the refusal says why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

import jobs.report
import jobs.sweep
from orchestrator.base.source import resolve_base
from orchestrator.errors import InputError
from orchestrator.files import make_folder
from orchestrator.plan.runs import expand
from orchestrator.recipe.sections import ModelSpec
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.links import refuse_links_out
from orchestrator.store.sweep_folder import SweepFolder
from tests.faults.hostile.names import names
from tests.faults.hostile.recipes import GOOD, dumped
from tests.faults.hostile.verdict import end_of_job, together, tree
from tests.faults.scorecard import CARD

KEYS = ("sweep", "task", "label", "experiment")


def makes_folders(spec: SweepSpec, command: str, console: Console) -> int:
    """A job that makes every folder and file that a sweep of these names would make."""
    del command, console
    folder = SweepFolder.of(spec)
    storage = folder.path.parent.resolve()
    places = [folder.champion(task.name) for task in spec.tasks]
    places += [folder.run(str(number)).path for number, _ in enumerate(expand(spec))]
    for place in (folder.path, *places):
        assert place.resolve().is_relative_to(storage)
        make_folder(place)
    return 0


def recipe_with(key: str, name: str) -> bytes:
    """Return the good recipe with a name at one of the places where a recipe has names."""
    tree = json.loads(json.dumps(GOOD))
    match key:
        case "sweep":
            tree["name"] = name
        case "task":
            tree["tasks"][1]["name"] = name
        case "label":
            tree["methods"][0]["label"] = name
        case "experiment":
            tree["tracking"]["experiment"] = name
    return dumped(tree | {"storage": "sweeps"})


@pytest.mark.parametrize("key", KEYS)
def test_200_hostile_names_make_nothing_outside_the_storage(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "a" / "work"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    monkeypatch.delenv("D2LORA_HOME", raising=False)
    file, results = tmp_path / "recipe.yaml", []
    for name in names(200):
        file.write_bytes(recipe_with(key, name))
        outcome = end_of_job(makes_folders, [str(file)])
        wrong = ["slow"] * outcome.slow if outcome.code == 0 else outcome.faults(r"recipe\.yaml:\d+")
        results.append((repr(name)[:60], wrong, outcome.told))
    CARD.hostile(results)
    assert not together(results), together(results)
    outside = {name for name in tree(tmp_path) if not name.startswith(f"{work}/sweeps")}
    assert outside == {str(file), str(work.parent), str(work)}
    if key in ("sweep", "task"):
        assert len([one for one in results if one[2]]) > 190  # nearly all are refused


def test_hostile_names_of_models_and_revisions_are_refused(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for name in names(200):
        if not name.strip() or name in ("con", "aux", "null", "true", "runs"):
            continue
        with pytest.raises(InputError, match=r"Cannot fetch model|is not a directory|model\.path=DIR"):
            resolve_base(ModelSpec(name=name if name != "tiny" else "x/y"), cache)
    assert {Path(name).relative_to(tmp_path).parts[0] for name in tree(tmp_path)} <= {"cache"}


PLANTED = (
    ".", "runs", "runs/0123456789abcdef", "runs/0123456789abcdef/adapter", "runs/0123456789abcdef/COMMITTED.json",
    "champions", "champions/tiny_recall", "champions/tiny_recall/model.safetensors", "predictions", "base", ".ray",
    ".lease", "sweep.json", "results.jsonl", "summary.json", "report.html", "predictions/0123456789abcdef.jsonl",
)  # fmt: skip


@pytest.mark.parametrize("job", ["sweep", "report"])
@pytest.mark.parametrize("place", PLANTED)
@pytest.mark.parametrize("there", [True, False], ids=["to something", "to nothing"])
def test_a_planted_link_that_leads_out_is_refused(
    job: str, place: str, there: bool, recipe: Path, tmp_path: Path
) -> None:
    target, link = tmp_path / "elsewhere" / "x", tmp_path / "sweeps" / "small" / place
    target.parent.mkdir()
    if there:
        target.mkdir()
        (target / "kept").write_text("kept")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    before = tree(target.parent)
    outcome = end_of_job({"sweep": jobs.sweep, "report": jobs.report}[job].main, [str(recipe)], job)
    assert not outcome.faults(rf"sweeps/small(/{place})? is a link to {target}, out of the storage"), outcome.told
    assert tree(target.parent) == before


def test_links_within_the_storage_and_a_storage_that_is_a_link_are_taken(tmp_path: Path) -> None:
    (tmp_path / "disk" / "small" / "runs").mkdir(parents=True)
    (tmp_path / "disk" / "other").mkdir()
    (tmp_path / "disk" / "small" / "runs" / "x").symlink_to(tmp_path / "disk" / "other")
    (tmp_path / "sweeps").symlink_to(tmp_path / "disk")
    refuse_links_out(tmp_path / "sweeps" / "small")
    refuse_links_out(tmp_path / "sweeps" / "not there yet")
