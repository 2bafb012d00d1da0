"""Runs in MLflow say who started them, from which commit; names of the environment fill what a recipe leaves out."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest

from orchestrator.machine import code
from orchestrator.recipe.environment import EXPERIMENT, experiment_passed_over
from orchestrator.recipe.read import read_recipe
from orchestrator.tracking.mlflow import fields, source
from tests.orchestrator.tracking.mlflow.test_tracker import RUNS, driver, write

RECIPE = "name: named\ntasks: [boolq]\nmethods: [lora]\nseeds: [0]\n"


def test_every_run_says_its_user_its_command_and_its_commit(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "own_commit", lambda: "abc123 with changes")
    monkeypatch.setenv("LOGNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "a name for logging in")
    tracker = driver(place)
    write(place, RUNS[0], 2)
    tracker.sync(RUNS, place)
    client = mlflow.MlflowClient(f"sqlite:///{place}/mlflow.db")
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert {run.data.tags["kind"] for run in runs} == {"sweep", "group", "run"}
    for run in runs:
        tags = run.data.tags
        assert (tags["mlflow.user"], run.info.user_id) == ("ann", "ann")
        assert (tags["mlflow.source.name"], tags["mlflow.source.type"]) == ("a test", "LOCAL")
        assert tags["mlflow.source.git.commit"] == "abc123"


def test_a_user_without_a_name_is_unknown_and_without_a_commit_there_is_no_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "bob")
    monkeypatch.setattr(source, "own_commit", lambda: None)
    tags = source.source_tags("python jobs/sweep.py r.yaml")
    assert tags["mlflow.user"] == "bob"
    assert source.COMMIT not in tags
    monkeypatch.setattr("getpass.getuser", lambda: (_ for _ in ()).throw(OSError("no name")))
    assert source.source_tags("")["mlflow.user"] == "unknown"
    assert code.commit(Path("/"), {code.COMMIT: "fed"}) == "fed"


def test_the_commit_of_a_run_that_has_ended_is_one_that_a_page_can_link_to() -> None:
    tags = fields.end_tags("committed", {"made_by": {"commit": "abc123 with changes"}})
    assert (tags[source.COMMIT], tags["made_by.commit"]) == ("abc123", "abc123 with changes")


def test_the_environments_experiment_is_taken_where_the_recipe_names_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "named.yaml"
    recipe.write_text(RECIPE)
    monkeypatch.setenv(EXPERIMENT, " team ")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    spec = read_recipe(recipe)
    assert (spec.experiment, spec.tracking.uri) == ("team", "http://127.0.0.1:5000")
    assert read_recipe(recipe, ["tracking.experiment=mine", "tracking.uri=none"]).experiment == "mine"
    assert experiment_passed_over("mine", {EXPERIMENT: "team"}) == (
        "MLFLOW_EXPERIMENT_NAME=team is passed over, for the recipe says tracking.experiment=mine"
    )
    assert experiment_passed_over("team", {EXPERIMENT: "team"}) is experiment_passed_over("mine", {}) is None
    monkeypatch.delenv(EXPERIMENT)
    assert read_recipe(recipe).experiment == "named"
