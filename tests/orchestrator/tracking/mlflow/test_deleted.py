"""What somebody deletes in MLflow's page: the tree is whole again, and a deleted experiment names both ways out."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest

from orchestrator.errors import InputError
from orchestrator.recipe.frozen import with_values
from orchestrator.tracking.mlflow.ledger import PARENT
from orchestrator.tracking.mlflow.tracker import MlflowTracker
from tests.orchestrator.tracking.mlflow.test_tracker import ME, RUNS, SWEEP, driver, write


def tree(place: Path) -> dict[str, list[str | None]]:
    """Return the kind of each active run's parent, by the kind of the run; "gone" for one that is not active."""
    client = mlflow.MlflowClient(f"sqlite:///{place}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("tracked").experiment_id])
    kinds: dict[str | None, Any] = {run.info.run_id: run.data.tags["kind"] for run in runs}
    parents: dict[str, list[str | None]] = {}
    for run in runs:
        parent = run.data.tags.get(PARENT)
        parents.setdefault(run.data.tags["kind"], []).append(parent and kinds.get(parent, "gone"))
    return parents


def delete(place: Path, *kinds: str) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{place}/mlflow.db")
    for run in client.search_runs([client.get_experiment_by_name("tracked").experiment_id]):
        if run.data.tags["kind"] in kinds:
            client.delete_run(run.info.run_id)


WHOLE = {"sweep": [None], "group": ["sweep"], "run": ["group", "group"]}
DELETED = [("sweep",), ("group",), ("sweep", "group"), ("run",), ("sweep", "group", "run")]


@pytest.mark.parametrize("kinds", DELETED)
def test_the_next_driver_makes_the_tree_whole_whichever_runs_were_deleted(place: Path, kinds: tuple[str, ...]) -> None:
    for run in RUNS:
        write(place, run, 3, end="COMMITTED")
    driver(place).sync(RUNS, place)
    delete(place, *kinds)
    tracker = driver(place)
    tracker.sync(RUNS, place)
    assert tracker.behind is None
    assert tree(place) == WHOLE


def test_a_driver_whose_tree_is_deleted_while_it_trains_makes_it_anew(place: Path) -> None:
    for run in RUNS:
        write(place, run, 3)
    tracker = driver(place)
    tracker.sync(RUNS, place)
    delete(place, "sweep", "group", "run")
    for run in RUNS:
        write(place, run, 5)
    tracker.sync(RUNS, place)
    assert tracker.problem is None
    assert tree(place) == WHOLE


def test_a_deleted_experiment_is_refused_and_both_ways_out_work(place: Path) -> None:
    driver(place)
    uri = f"sqlite:///{place}/mlflow.db"
    client = mlflow.MlflowClient(uri)
    client.delete_experiment(client.get_experiment_by_name("tracked").experiment_id)
    with pytest.raises(InputError, match="experiment 'tracked' is deleted") as refused:
        driver(place)
    (name,) = re.findall(r"tracking.experiment=(\S+)$", str(refused.value))
    MlflowTracker(with_values(SWEEP, {"tracking.experiment": name}), uri, "a test", ME).connect()
    (command,) = re.findall(r"Restore it: (.*)", str(refused.value))
    assignment, *words = shlex.split(command)
    variable, _, value = assignment.partition("=")
    subprocess.run([sys.executable, "-m", *words], env=os.environ | {variable: value}, check=True, capture_output=True)
    assert driver(place).behind is None


def test_an_experiment_whose_files_have_no_place_is_refused_and_another_is_taken(place: Path) -> None:
    uri = f"sqlite:///{place}/mlflow.db"
    mlflow.MlflowClient(uri).create_experiment("tracked", artifact_location="file:///proc/nowhere")
    with pytest.raises(InputError, match="nothing can be written") as refused:
        driver(place)
    (name,) = re.findall(r"tracking.experiment=(\S+)$", str(refused.value))
    MlflowTracker(with_values(SWEEP, {"tracking.experiment": name}), uri, "a test", ME).connect()


def test_mlflow_leaves_the_environment_as_it_was(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    driver(place)
    assert "MLFLOW_TRACKING_URI" not in os.environ
