"""Candidates are commits of one line, or interpreters, from good to bad; what cannot be is refused with a remedy."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from jobs.bisect_options import asked_of
from orchestrator.errors import InputError, RunError
from orchestrator.nightly.bisect.asked import Asked, cell_named
from orchestrator.nightly.bisect.candidates import commits, interpreters
from orchestrator.nightly.bisect.recipe import cell_recipe
from orchestrator.nightly.bisect.trees import sources_of, tidy
from orchestrator.recipe.read import read_recipe
from tests.helpers.repository import begin, commit, git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Five commits on main, the fourth a merge of a branch, and one on a branch of its own."""
    folder = begin(tmp_path / "repository")
    for number in range(3):
        commit(folder, f"main {number}", {"jobs/sweep.py": f"print({number})"})
    git(folder, "checkout", "-q", "-b", "side", "HEAD~1")
    commit(folder, "on the side", {"other.py": ""})
    git(folder, "checkout", "-q", "main")
    git(folder, "merge", "-q", "--no-ff", "-m", "main 3: merge", "side")
    commit(folder, "main 4", {"jobs/sweep.py": "print(4)"})
    git(folder, "checkout", "-q", "-b", "apart", "main~1")
    commit(folder, "apart", {"apart.py": ""})
    git(folder, "checkout", "-q", "main")
    return folder


@pytest.mark.parametrize("named", ["main~3..main", "main..main~3"])
def test_the_commits_of_a_range_are_those_of_the_main_line_with_both_ends(repository: Path, named: str) -> None:
    line = commits(named, repository)
    subjects = [candidate.line for candidate in line]
    assert subjects == [f"A. Author, 2026-11-28: main {end}" for end in ("1", "2", "3: merge", "4")]
    assert line[-1].commit == git(repository, "rev-parse", "main")
    assert line[0].words == f"{line[0].label} (A. Author, 2026-11-28: main 1)"


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("main", "give two commits as GOOD..BAD"),
        ("main~1...main", "give two commits as GOOD..BAD"),
        ("main..main", "is not before"),
        ("apart..main", "is not before"),
        ("nowhere..main", "nowhere is no commit of .* git fetch"),
        ("--all..main", "--all is no commit"),
    ],
)
def test_commits_between_which_nothing_lies_are_refused(repository: Path, named: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        commits(named, repository)


def test_without_a_repository_the_message_names_what_needs_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no checkout of a git repository.*--python and --settings need none"):
        commits("a..b", tmp_path)


def test_the_sources_of_a_commit_are_unpacked_and_gone_afterwards(repository: Path, tmp_path: Path) -> None:
    first, place = git(repository, "rev-parse", "main~4"), tmp_path / "trees" / "one"
    before = git(repository, "status", "--porcelain"), git(repository, "worktree", "list")
    with sources_of(first, place, repository) as sources:
        assert (sources / "jobs" / "sweep.py").read_text() == "print(0)"
        assert not (sources / "other.py").exists()
    assert [*place.parent.iterdir()] == []
    with sources_of(None, place, repository) as sources:
        assert sources == repository
    with pytest.raises(RunError, match="git gives no sources of 0123"), sources_of("0123" * 10, place, repository):
        pass
    (place / "rest").mkdir(parents=True)  # of a kill
    tidy(place.parent)
    assert not place.exists()
    assert (git(repository, "status", "--porcelain"), git(repository, "worktree", "list")) == before


def test_a_project_in_a_folder_of_a_repository_is_unpacked_alone(tmp_path: Path) -> None:
    folder = begin(tmp_path / "whole")
    sha = commit(folder, "one", {"project/jobs/sweep.py": "1", "elsewhere.py": "2"})
    with sources_of(sha, tmp_path / "tree", folder / "project") as sources:
        assert sorted(path.name for path in sources.rglob("*")) == ["jobs", "sweep.py"]


def test_interpreters_are_labelled_by_what_differs_and_nonsense_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text('#!/bin/sh\necho \'{"python": "3.11.2", "torch": "9.9"}\'\n')
    other.chmod(0o755)
    same = interpreters([sys.executable, sys.executable])
    assert [candidate.label for candidate in same] == [sys.executable] * 2
    third = tmp_path / "python3"
    third.write_text(other.read_text().replace("9.9", "9.8"))
    third.chmod(0o755)
    candidates = interpreters([str(third), str(other)])
    assert [candidate.label for candidate in candidates] == ["torch 9.8", "torch 9.9"]
    assert [candidate.python for candidate in candidates] == [str(third), str(other)]
    for wrong in (str(tmp_path / "missing"), "/bin/false"):
        with pytest.raises(InputError, match=r"no Python that can be started.*Give the bin/python"):
            interpreters([sys.executable, wrong])


def test_a_cells_recipe_reads_again_and_holds_only_what_is_not_default(recipe: Path) -> None:
    spec = read_recipe(recipe, ("optim.lr=[1e-3, 5e-3]", "data.mirror=somewhere"))
    content = cell_recipe(spec, ("tiny_above", "lora"))
    assert content["methods"][0].items() <= {
        "name": "lora", "rank": 4, "alpha": 8.0, "targets": "attention", "label": "lora",
    }.items()  # fmt: skip
    assert "nightly" not in content
    assert "weight_decay" not in content["optim"]
    assert Path(content["data"]["mirror"]).is_absolute()
    file = recipe.with_name("cell.yaml")
    file.write_text(json.dumps(content))
    again = read_recipe(file, ("name=c-0123", "storage=there"))
    assert [task.name for task in again.tasks] == ["tiny_above"]
    assert [method.decides() for method in again.methods] == [spec.methods[1].decides()]
    assert (again.seeds, again.optim.lr, again.cluster.kind, again.cluster.pack) == ([0, 1], 1e-3, "local", 1)
    lanes = cell_recipe(spec, ("tiny_above", "lora"), [{"rank": 2}, {"rank": 8}])
    assert [method["rank"] for method in lanes["methods"]] == [2, 8]
    assert lanes["cluster"]["pack"] == 4
    with pytest.raises(InputError, match="give the method of the cell its rank"):
        cell_recipe(read_recipe(recipe, ("budget=parameters",)), ("tiny_above", "lora"))


def test_what_is_asked_is_one_thing_of_a_cell_that_there_is(recipe: Path) -> None:
    spec = read_recipe(recipe, ())
    assert cell_named("tiny_above/lora", spec) == ("tiny_above", "lora")
    for wrong in ("tiny_above", "tiny_above/dora", "lora/tiny_above"):
        with pytest.raises(
            InputError, match=r"the recipe has no such cell.*tasks: tiny_recall, tiny_above; methods: d2lora"
        ):
            cell_named(wrong, spec)
    options = {"bisect": "a..b", "python": None, "settings": None, "cell": None, "rest": 1}
    assert asked_of(options) == Asked("a..b")
    assert options == {"rest": 1}
    assert asked_of({"settings": ["{rank: 4}", "{rank: 8}"], "cell": "a/b"}) == Asked(
        None, (), ({"rank": 4}, {"rank": 8}), "a/b"
    )
    assert asked_of({}) is None
    for wrong_options, words in (
        ({"cell": "a/b"}, "belongs to --bisect"),
        ({"bisect": "a..b", "python": ["x", "y"]}, "Give one of"),
        ({"python": ["x"]}, "two or more"),
        ({"settings": ["{rank: 4}", "rank"]}, "give keys and values"),
    ):
        with pytest.raises(InputError, match=words):
            asked_of(wrong_options)
