"""The promise of tracking after any fault: everything that a sweep's folder holds is in MLflow, once."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import mlflow
import pytest

from orchestrator.files import read_json, read_lines
from orchestrator.store.identity import identity_of
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.tracking.mlflow import fields
from orchestrator.tracking.mlflow.entries import STATUS, SWEEP_ID


def tracked(uri: str, folder: Path) -> list[Any]:
    """Return all runs, groups and the sweep's own run that MLflow has of the sweep in ``folder``."""
    place = SweepFolder(folder)
    sweep = read_json(place.sweep)
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name(sweep["recipe"]["tracking"]["experiment"] or sweep["name"])
    query = f"tags.{SWEEP_ID} = '{identity_of(place).word}'"
    return list(client.search_runs([experiment.experiment_id], query, max_results=50_000))


def assert_tracked_once(uri: str, folder: Path, complete: bool = True) -> None:
    """Hold MLflow to the folder of a sweep that has ended.

    There is one run per run key that was trained, one group per task and method, and one run for the sweep; none is
    RUNNING, all have an end, and a committed run is FINISHED; each metric of the steps has every step of the log once,
    in order, with the log's values; the last value of each score is the row's; the row names its run in MLflow.
    """
    runs, place, client = tracked(uri, folder), SweepFolder(folder), mlflow.MlflowClient(uri)
    rows = {row["run_key"]: row for row in read_lines(place.results)}
    trained = {key: row for key, row in rows.items() if place.run(key).ended()}
    assert [run.info.run_id for run in runs if run.info.status == "RUNNING"] == []
    assert all(run.info.end_time and run.info.end_time >= run.info.start_time for run in runs)
    tops = [run for run in runs if run.data.tags["kind"] == "sweep"]
    assert [run.info.status for run in tops] == ["FINISHED" if complete else "FAILED"]
    groups = Counter(
        (run.data.tags["task"], run.data.tags["method"]) for run in runs if run.data.tags["kind"] == "group"
    )
    assert groups == dict.fromkeys({(row["task"], row["method"]) for row in trained.values()}, 1)
    leaves = [run for run in runs if run.data.tags["kind"] == "run"]
    assert Counter(run.data.tags["run_key"] for run in leaves) == dict.fromkeys(trained, 1)
    for run in leaves:
        key, row = run.data.tags["run_key"], rows[run.data.tags["run_key"]]
        assert run.info.status == STATUS[row["status"]], (key, row["status"])
        assert row["mlflow_run_id"] == run.info.run_id
        log = place.run(key).metrics()
        assert [step["step"] for step in log] == list(range(len(log)))
        for name in fields.step_values(log[0]):
            points = sorted(client.get_metric_history(run.info.run_id, name), key=lambda point: point.step)
            assert [point.step for point in points] == list(range(len(log))), (key, name)
            logged = [float(step[name]) for step in log]
            assert [point.value for point in points] == pytest.approx(logged, nan_ok=True), (key, name)
        for name, value in fields.scores(row).items():
            assert math.isclose(run.data.metrics[name], value, rel_tol=1e-9), (key, name)
