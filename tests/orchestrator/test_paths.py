"""Relative places: below the working directory, unless that is an uploaded copy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.base.source import resolve_base
from orchestrator.data.splits import split_examples
from orchestrator.data.tasks import make_task
from orchestrator.driver.prepare import make_ready
from orchestrator.errors import InputError
from orchestrator.estimate.model_shapes import shape_of
from orchestrator.paths import HOME, UPLOADED, readable, resolve, root
from orchestrator.recipe.read import read_recipe
from orchestrator.recipe.sections import ModelSpec
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.tracking.sqlite_address import absolute


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


def test_a_home_that_nobody_has_is_refused_with_the_path_to_write(here: Path) -> None:
    with pytest.raises(InputError, match=r"/x: ~nobody-at-all is nobody's home directory here: write the whole path"):
        resolve("~nobody-at-all/x")
    assert resolve("/~nobody-at-all/x") == Path("/~nobody-at-all/x")


RECIPE = """
name: placed
tasks: [{name: mine, path: rows/mine.jsonl, test: rows/test.jsonl}, boolq]
methods: [lora]
seeds: [0]
model: {path: base}
data: {mirror: mirror}
engine: {deepspeed: ds.json}
tracking: {uri: "sqlite:///mlflow.db"}
storage: sweeps
"""


@pytest.mark.parametrize("where", ["working directory", "named home", "home of an upload"])
def test_all_paths_of_a_recipe_start_in_one_place(
    where: str, here: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Files that are read, files that are written, and the database: each by the code that opens it in a sweep."""
    place = here
    if where == "named home":
        place = here / "elsewhere"
        monkeypatch.setenv(HOME, str(place))
    if where == "home of an upload":
        request.getfixturevalue("uploaded")
        place = here / "home" / "d2lora"
    (here / "recipe.yaml").write_text(RECIPE)
    rows = place / "rows"
    rows.mkdir(parents=True)
    (place / "ds.json").write_text('{"zero_optimization": {"reduce_bucket_size": 77}}')
    row = {"question": "which?", "choices": ["a", "b"], "answer": 0}
    for name, count in (("mine", 80), ("test", 9)):
        lines = [json.dumps(row | {"question": f"which {name} {number}?"}) for number in range(count)]
        (rows / f"{name}.jsonl").write_text("\n".join(lines))
    (place / "base").mkdir()
    shape = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    (place / "base" / "config.json").write_text(json.dumps(shape | {"vocab_size": 32, "model_type": "llama"}))

    spec = read_recipe(here / "recipe.yaml")
    own = spec.engine.deepspeed
    assert own is not None
    assert own.options(base=False) == {"reduce_bucket_size": 77}
    assert SweepFolder.of(spec).path == place / "sweeps" / "placed"
    assert absolute(spec.tracking.uri) == f"sqlite:///{place}/mlflow.db"
    splits = split_examples(make_task(**spec.tasks[0].model_dump()))
    assert (len(splits.train) + len(splits.validation), len(splits.test)) == (80, 9)
    known, _ = shape_of(spec.model)
    assert known is not None
    assert known.hidden == 8
    with pytest.raises(InputError, match=f"{place}/base"):  # it has no weights
        resolve_base(spec.model, here / "cache")
    with pytest.raises(InputError, match=f"{place}/mirror"):  # it has no rows
        make_ready(spec, here / "cache", lambda _: None)
