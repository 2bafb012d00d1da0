"""Relative places: below the working directory, unless that is an uploaded copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.base.source import resolve_base
from orchestrator.data.tasks import make_task
from orchestrator.errors import InputError
from orchestrator.estimate.model_shapes import shape_of
from orchestrator.paths import HOME, UPLOADED, readable, resolve, root
from orchestrator.recipe.sections import ModelSpec


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(HOME, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def uploaded(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = here / "session" / UPLOADED / "_ray_pkg_1"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    return copy


def test_places_start_from_the_working_directory(here: Path) -> None:
    assert (root(), resolve("./sweeps"), resolve("a/b")) == (here, here / "sweeps", here / "a/b")


def test_a_job_in_an_uploaded_copy_writes_to_the_home_instead(here: Path, uploaded: Path) -> None:
    assert resolve("sweeps") == here / "home" / "d2lora" / "sweeps"


def test_the_named_home_goes_before_everything(here: Path, uploaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME, "~/mine")
    assert resolve("sweeps") == here / "home" / "mine" / "sweeps"
    monkeypatch.chdir(here)
    monkeypatch.setenv(HOME, "below")
    assert resolve("sweeps") == here / "below" / "sweeps"


def test_absolute_places_and_those_of_a_user_stay(here: Path) -> None:
    assert (resolve("/data/x"), resolve("~/x")) == (Path("/data/x"), here / "home" / "x")


def test_what_is_only_read_may_lie_in_the_uploaded_copy_and_else_lies_where_everything_starts(
    here: Path, uploaded: Path
) -> None:
    home = here / "home" / "d2lora"
    assert readable("rows.jsonl") == home / "rows.jsonl"
    (uploaded / "rows.jsonl").touch()
    assert readable("rows.jsonl") == readable(Path("rows.jsonl")) == uploaded / "rows.jsonl"
    home.mkdir(parents=True)
    (home / "rows.jsonl").touch()
    assert readable("rows.jsonl") == home / "rows.jsonl"
    assert readable("~/x") == here / "home" / "x"


def test_all_that_a_recipe_reads_starts_in_one_place(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME, str(here / "mine"))
    (here / "mine" / "base").mkdir(parents=True)
    (here / "mine" / "rows.jsonl").write_text('{"question": "q", "options": ["a", "b"], "label": 0}\n' * 4)
    columns = {"question": "question", "choices": "options", "answer": "label"}
    assert list(make_task("mine", path="rows.jsonl", **columns).examples("train"))
    for read in (lambda spec: resolve_base(spec, here / "cache"), shape_of):
        with pytest.raises(InputError, match="mine/base"):
            read(ModelSpec(path="base"))
