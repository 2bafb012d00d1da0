"""MLflow on SQLite: few requests, and all is there once, whichever request or answer is lost and whoever goes on."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import mlflow
import pytest
from PIL import Image

from orchestrator.plan.runs import PlannedRun, expand, keyed
from orchestrator.recipe.sections import MethodSpec, TaskSpec
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.identity import Identity
from orchestrator.tracking.figures import artefacts, charts
from orchestrator.tracking.mlflow import requests
from orchestrator.tracking.mlflow.tracker import MlflowTracker
from orchestrator.tracking.patient import Patience, PatientTracker
from tests.helpers.tracked import tracked_sweep
from tests.helpers.tracked.tracked_checks import check_sweep
from tests.helpers.tracked.tracked_sweep import write_sweep

LORA = MethodSpec(name="lora", settings={"rank": 8}, label="lora", targets="attention")
SWEEP = SweepSpec(name="tracked", tasks=[TaskSpec(name="boolq")], methods=[LORA], seeds=[0, 1])
RUNS = keyed(expand(SWEEP), "base", {"boolq": "data"})
SCORES = {"accuracy": 0.5, "eval_loss": 1.5, "train_seconds": 0.001}
DIAGNOSTICS = {"norm_drift_mean": 0.25, "intruders": 2.0}
ROW = {**SCORES, "diagnostics": {**DIAGNOSTICS, "skipped": "not finite: merge_gap"}}
CLIENT = mlflow.MlflowClient
ME = Identity("mine")
QUICK = Patience(pause=0.0)
TRIES = 1 + len(requests.PAUSES)


class Watched:
    """A client that counts its requests and may lose some: on their way there, or their answers on the way back.

    Lost are ``times`` requests from the request number ``lost`` on: the second may be the repetition of the first.
    """

    def __init__(self, uri: str, lost: int | None = None, arrives: bool = True, times: int = 1) -> None:
        self.inner, self.lost, self.arrives, self.times = CLIENT(uri), lost, arrives, times
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def request(*args: Any, **kwargs: Any) -> Any:
            lost = self.lost is not None and self.lost <= len(self.asked) < self.lost + self.times
            self.asked.append(name)
            if lost and not self.arrives:
                raise ConnectionError("refused")
            answer = getattr(self.inner, name)(*args, **kwargs)
            if lost:
                raise ConnectionError("no answer")
            return answer

        return request


def watched(place: Path, monkeypatch: pytest.MonkeyPatch, **lost: Any) -> Watched:
    """Return the client that the next tracker on ``place`` will use."""
    client = Watched(f"sqlite:///{place}/mlflow.db", **lost)
    monkeypatch.setattr(mlflow, "MlflowClient", lambda **_: client)
    return client


def driver(place: Path) -> PatientTracker:
    tracker = PatientTracker(MlflowTracker(SWEEP, f"sqlite:///{place}/mlflow.db", "a test", ME), lambda _: None, QUICK)
    tracker.connect()
    return tracker


def write(place: Path, run: PlannedRun, steps: int, *, attempt: int = 1, end: str | None = None) -> None:
    """Write a run's folder as a trainer leaves it after ``steps`` steps."""
    folder = place / "runs" / run.key
    log = folder / f"attempt-{attempt}" / "metrics.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {"step": step, "time": 1000 * attempt + step, "train_loss": 1 / (step + 1), "lr": 1e-4, "tokens": 8 * step}
        for step in range(steps)
    ]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if end == "COMMITTED":
        log.rename(folder / "metrics.jsonl")
    if end:
        (folder / f"{end}.json").write_text(json.dumps({"row": ROW, "files": {}}))


def rows(place: Path, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(place / "mlflow.db") as database:
        return sorted(database.execute(query).fetchall())


def shown(place: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return all that MLflow has, without the ids that differ between databases."""
    named = "from {} join runs on runs.run_uuid = {}.run_uuid"
    return {
        "runs": rows(place, "select name, status from runs"),
        "times": rows(place, "select name, start_time, end_time from runs"),
        "metrics": rows(place, "select name, key, value, timestamp, step " + named.format("metrics", "metrics")),
        "params": rows(place, "select name, key, value " + named.format("params", "params")),
        "tags": rows(
            place, f"select name, key, value {named.format('tags', 'tags')} where key != 'mlflow.parentRunId'"
        ),
        "parents": rows(
            place, "select runs.name, up.name from tags join runs on runs.run_uuid = tags.run_uuid "
            "join runs up on up.run_uuid = tags.value where key = 'mlflow.parentRunId'"
        ),
    }  # fmt: skip


def test_a_run_costs_three_requests_and_nothing_is_asked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = watched(place, monkeypatch)
    tracker = driver(place)
    for run in RUNS:
        write(place, run, 3, end="COMMITTED")
    client.asked.clear()
    tracker.sync(RUNS, place)
    assert Counter(client.asked) == {"create_run": 4, "log_batch": 2, "set_terminated": 2}  # two are sweep and group
    client.asked.clear()
    tracker.sync(RUNS, place)
    assert client.asked == []
    assert [name for name, status in shown(place)["runs"] if status == "FINISHED"] == [
        "seed 0 · lr 0.0002 · lora · boolq",
        "seed 1 · lr 0.0002 · lora · boolq",
    ]
    metrics = shown(place)["metrics"]
    assert len(metrics) == 2 * (3 * 3 + len(SCORES) + len(DIAGNOSTICS))
    for name, value in DIAGNOSTICS.items():
        assert [one[2] for one in metrics if one[1] == f"diagnostics/{name}"] == [value, value]


def a_sweep(place: Path) -> int:
    """Show a sweep whose runs end one after the other; return how often tracking was behind."""
    tracker, behind = driver(place), 0
    write(place, RUNS[0], 3)
    tracker.sync(RUNS, place)
    behind += tracker.behind is not None
    tracker.fail(RUNS[1], "no memory")
    behind += tracker.behind is not None
    tracker.fail(RUNS[1], "no memory")
    write(place, RUNS[0], 5, end="COMMITTED")
    write(place, RUNS[1], 2, end="DIVERGED")
    for _ in range(3):
        tracker.sync(RUNS, place)
        behind += tracker.behind is not None
    assert tracker.behind is None
    return behind


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, TRIES])
def test_everything_is_there_once_whichever_request_or_answer_is_lost(
    place: Path, tmp_path_factory: pytest.TempPathFactory, empty: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr(requests, "PAUSES", (0.0,) * (TRIES - 1))
    monkeypatch.setattr("time.time", lambda: 1.8e9)  # when a run that fails before its first step is created
    client = watched(place, monkeypatch)
    assert a_sweep(place) == 0
    wanted = shown(place)
    assert [status for _, status in wanted["runs"]].count("RUNNING") == 2  # the sweep and its group are not over
    for lost in range(len(client.asked)):
        for arrives in (True, False):
            other = tmp_path_factory.mktemp("other")
            shutil.copy(empty, other / "mlflow.db")
            watched(other, monkeypatch, lost=lost, arrives=arrives, times=times)
            a_sweep(other)
            assert shown(other) == wanted, (client.asked[lost], arrives)


def test_an_answer_that_is_lost_creates_no_second_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = watched(place, monkeypatch)
    tracker = driver(place)
    write(place, RUNS[0], 3)
    client.lost = len(client.asked) + 2  # sweep and group are created, then the run
    tracker.sync(RUNS, place)
    assert client.asked[-1] == "create_run"
    assert tracker.behind == "no answer"
    tracker.sync(RUNS, place)
    assert tracker.behind is None
    assert client.asked[-3:] == ["search_runs", "get_metric_history", "log_batch"]
    assert len(shown(place)["runs"]) == 3


def test_steps_whose_answer_is_lost_are_not_sent_again_by_another_attempt(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = watched(place, monkeypatch)
    tracker = driver(place)
    write(place, RUNS[0], 3)
    client.lost, client.times = len(client.asked) + 3, TRIES  # after the sweep, the group and the run
    tracker.sync(RUNS, place)
    assert client.asked[-TRIES:] == ["log_batch"] * TRIES
    assert tracker.behind == "no answer"
    write(place, RUNS[0], 4, attempt=2)
    tracker.sync(RUNS, place)
    losses = [one[3:] for one in shown(place)["metrics"] if one[1] == "train_loss"]
    assert sorted(losses) == [(1000, 0), (1001, 1), (1002, 2), (2003, 3)]


def test_the_next_driver_sends_what_is_missing_and_asks_only_about_what_goes_on(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(place, RUNS[0], 4, end="COMMITTED")
    write(place, RUNS[1], 3)
    driver(place).sync(RUNS, place)
    write(place, RUNS[1], 5, attempt=2)  # the first attempt was killed: its steps stand, those of the second go on
    client = watched(place, monkeypatch)
    tracker = driver(place)
    tracker.sync(RUNS, place)
    assert client.asked == [
        *("get_experiment_by_name", "search_runs", "update_run"),
        *("get_metric_history", "set_terminated", "set_terminated"),  # the run and its group, which were left running
        *("update_run", "update_run", "get_metric_history", "log_batch"),
    ]
    losses = [one[3:] for one in shown(place)["metrics"] if one[1] == "train_loss" and one[0].startswith("seed 1")]
    assert sorted(losses) == [(1000, 0), (1001, 1), (1002, 2), (2003, 3), (2004, 4)]
    assert tracker.run_id(RUNS[0].key) != tracker.run_id(RUNS[1].key)


def test_an_error_goes_when_the_run_has_been_trained_and_a_diverged_run_stays_so(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver(place).fail(RUNS[0], "no memory")
    assert ("seed 0 · lr 0.0002 · lora · boolq", "FAILED") in shown(place)["runs"]
    assert "no memory" in [value for _, key, value in shown(place)["tags"] if key == "error"]
    write(place, RUNS[0], 3, attempt=2, end="COMMITTED")
    write(place, RUNS[1], 2, end="DIVERGED")
    driver(place).sync(RUNS, place)
    assert "error" not in [key for _, key, _ in shown(place)["tags"]]
    statuses = [value for _, key, value in shown(place)["tags"] if key == "status"]
    assert statuses == ["committed", "diverged"]
    client = watched(place, monkeypatch)
    driver(place).sync(RUNS, place)
    assert client.asked == ["get_experiment_by_name", "search_runs", "update_run", "set_terminated"]  # of the group


def test_a_stopped_run_is_killed_in_mlflow_with_its_reason_and_taken_up_when_it_is_trained_on(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(place, RUNS[0], 3)
    ended = {"row": {"validation_accuracy": 0.25, "reason": "Stopped at step 3 of 9"}, "rule": "asha"}
    stop = place / "runs" / RUNS[0].key / "STOPPED.json"
    stop.write_text(json.dumps(ended))
    driver(place).sync(RUNS, place)
    name = "seed 0 · lr 0.0002 · lora · boolq"
    assert (name, "KILLED") in shown(place)["runs"]
    assert {(key, value) for _, key, value in shown(place)["tags"] if key in ("status", "reason")} == {
        ("status", "stopped"), ("reason", "Stopped at step 3 of 9"),
    }  # fmt: skip
    assert [one[2] for one in shown(place)["metrics"] if one[1] == "validation_accuracy"] == [0.25]
    client = watched(place, monkeypatch)
    second = driver(place)
    second.sync(RUNS, place)
    assert client.asked == ["get_experiment_by_name", "search_runs", "update_run", "set_terminated"]  # of the group
    stop.unlink()
    write(place, RUNS[0], 2, attempt=2)
    second.sync(RUNS, place)
    assert (name, "RUNNING") in shown(place)["runs"]
    write(place, RUNS[0], 5, attempt=2, end="COMMITTED")
    second.sync(RUNS, place)
    assert (name, "FINISHED") in shown(place)["runs"]
    losses = [one[3:] for one in shown(place)["metrics"] if one[1] == "train_loss"]
    assert sorted(losses) == [(1000, 0), (1001, 1), (1002, 2), (2003, 3), (2004, 4)]
    assert {(key, value) for _, key, value in shown(place)["tags"] if key in ("status", "reason")} == {
        ("status", "committed")
    }


def test_a_long_run_is_sent_in_requests_that_mlflow_takes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(place, RUNS[0], 700, end="COMMITTED")
    client = watched(place, monkeypatch)
    tracker = driver(place)
    tracker.sync(RUNS, place)
    assert tracker.behind is None
    assert client.asked.count("log_batch") == 3
    assert len(shown(place)["metrics"]) == 700 * 3 + len(SCORES) + len(DIAGNOSTICS)


def test_a_second_driver_adds_nothing_to_a_finished_sweep_in_a_database(place: Path) -> None:
    uri = f"sqlite:///{place}/mlflow.db"
    check_sweep(CLIENT(uri), place / "sweep", uri, place)


@pytest.mark.slow
def test_a_summary_is_there_once_whichever_request_or_answer_is_lost(
    place: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = write_sweep(place / "sweep")
    monkeypatch.setattr("time.time", lambda: 1.8e9)
    monkeypatch.setattr(requests, "PAUSES", (0.0,) * (TRIES - 1))
    elsewhere = io.BytesIO()
    Image.new("RGB", (8, 8)).save(elsewhere, "png")
    for module in (artefacts, charts):
        monkeypatch.setattr(module, "png", lambda figure: elsewhere.getvalue())
        for name in ("accuracy_figure", "rates_figure", "best_of_figure"):
            monkeypatch.setattr(module, name, lambda *_, **__: None)
    monkeypatch.setattr(artefacts, "curves_figure", lambda *_, **__: None)
    watched(place, monkeypatch)
    tracker(place).sync(tracked_sweep.RUNS, place / "sweep")

    def summarised(lost: int | None, arrives: bool) -> tuple[list[str], list[tuple[Any, ...]]]:
        other = tmp_path_factory.mktemp("other")
        shutil.copy(place / "mlflow.db", other / "mlflow.db")
        shutil.rmtree(place / "mlartifacts", ignore_errors=True)
        client = watched(other, monkeypatch)
        one = tracker(other)
        client.asked.clear()
        client.lost, client.arrives, client.times = lost, arrives, TRIES
        one.summarise(summary, place / "sweep", True)
        asked = list(client.asked)
        assert one.behind is None
        files = sorted(file.name.split("+")[0] for file in (place / "mlartifacts").rglob("*") if file.is_file())
        tables = ("datasets", "inputs", "input_tags", "logged_models")
        counts = [rows(other, f"select count(*) from {name}")[0] for name in tables]
        return asked, [*shown(other)["metrics"], *shown(other)["runs"], *shown(other)["times"], *counts, *files]

    asked, wanted = summarised(None, True)
    for lost in sorted({asked.index(name) for name in asked}):  # the first request of each kind
        for arrives in (True, False):
            assert summarised(lost, arrives)[1] == wanted, (asked[lost], arrives)


def tracker(place: Path) -> PatientTracker:
    """Return a connected tracker of the finished sweep."""
    uri = f"sqlite:///{place}/mlflow.db"
    connected = PatientTracker(MlflowTracker(tracked_sweep.SWEEP, uri, "a test", ME), lambda _: None, QUICK)
    connected.connect()
    return connected
