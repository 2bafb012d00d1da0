"""Runs that a broken-off sweep has left: ended at their last step, taken up again under their ids, and none twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from orchestrator.store.identity import Identity
from orchestrator.tracking.mlflow.tracker import MlflowTracker
from orchestrator.tracking.patient import PatientTracker
from tests.orchestrator.tracking.mlflow.test_durations import BEGAN, MINUTE, STEP, spans, summarise, train
from tests.orchestrator.tracking.mlflow.test_tracker import CLIENT, QUICK, RUNS, SWEEP, driver

FIRST, SECOND = RUNS


def of(place: Path, query: str = "") -> list[Any]:
    """Return what MLflow lists."""
    client = CLIENT(f"sqlite:///{place}/mlflow.db")
    return list(client.search_runs([client.get_experiment_by_name("tracked").experiment_id], query))


def statuses(place: Path) -> dict[str, str]:
    """Return MLflow's status of the sweep, of the group, and of each run by its seed."""
    return {run.data.tags.get("seed", run.data.tags["kind"]): run.info.status for run in of(place)}


def ids(place: Path) -> dict[str, str]:
    return {run.data.tags.get("seed", run.data.tags["kind"]): run.info.run_id for run in of(place)}


def of_other(place: Path, word: str, adopts: bool = False) -> PatientTracker:
    """Return the connected tracker of another folder of the same name."""
    tracker = MlflowTracker(SWEEP, f"sqlite:///{place}/mlflow.db", "a test", Identity(word, adopts))
    patient = PatientTracker(tracker, lambda _: None, QUICK)
    patient.connect()
    return patient


def test_the_next_driver_ends_what_a_killed_one_left_and_takes_up_what_goes_on_under_its_id(place: Path) -> None:
    train(place, FIRST, 3)
    train(place, SECOND, 4, BEGAN + MINUTE)
    driver(place).sync(RUNS, place)  # and this driver is killed
    before = ids(place)
    assert statuses(place) == dict.fromkeys(("sweep", "group", "0", "1"), "RUNNING")
    tracker = driver(place)
    assert statuses(place) == {"sweep": "RUNNING", "group": "KILLED", "0": "KILLED", "1": "KILLED"}
    assert spans(place)["0"] == (BEGAN, BEGAN + 3 * STEP)
    assert spans(place)["1"] == (BEGAN + MINUTE, BEGAN + MINUTE + 4 * STEP)
    tracker.sync(RUNS, place)  # nothing is new
    assert statuses(place)["0"] == "KILLED"
    train(place, FIRST, 2, BEGAN + 5 * MINUTE, attempt=2)  # from its checkpoint: not yet further than MLflow has it
    tracker.sync(RUNS, place)
    assert statuses(place) == {"sweep": "RUNNING", "group": "RUNNING", "0": "RUNNING", "1": "KILLED"}
    train(place, FIRST, 5, BEGAN + 5 * MINUTE, attempt=2, status="committed")
    tracker.sync(RUNS, place)
    summarise(tracker, place)
    assert statuses(place) == {"sweep": "FINISHED", "group": "FINISHED", "0": "FINISHED", "1": "KILLED"}
    assert ids(place) == before
    history = CLIENT(f"sqlite:///{place}/mlflow.db").get_metric_history(before["0"], "tokens")
    assert sorted(point.step for point in history) == [0, 1, 2, 3, 4]


def test_an_interrupted_driver_sends_the_last_steps_and_ends_everything_and_the_next_one_goes_on(place: Path) -> None:
    train(place, FIRST, 3)
    tracker = driver(place)
    tracker.sync(RUNS, place)
    train(place, FIRST, 4)
    train(place, SECOND, 1, BEGAN + MINUTE)
    tracker.interrupt()
    assert statuses(place) == dict.fromkeys(("sweep", "group", "0", "1"), "KILLED")
    assert spans(place)["0"] == (BEGAN, BEGAN + 4 * STEP)
    assert spans(place)["sweep"] == (BEGAN, BEGAN + MINUTE + STEP)
    before = ids(place)
    for run in RUNS:
        train(place, run, 6, BEGAN + 2 * MINUTE, attempt=2, status="committed")
    later = driver(place)
    later.sync(RUNS, place)
    summarise(later, place)
    assert statuses(place) == dict.fromkeys(("sweep", "group", "0", "1"), "FINISHED")
    assert ids(place) == before


def test_a_driver_killed_between_the_end_of_a_run_and_its_status_left_a_run_that_has_ended(place: Path) -> None:
    train(place, FIRST, 3, status="diverged")
    driver(place).sync(RUNS, place)
    CLIENT(f"sqlite:///{place}/mlflow.db").update_run(ids(place)["0"], status="RUNNING")
    driver(place)
    assert statuses(place)["0"] == "FAILED"
    assert spans(place)["0"] == (BEGAN, BEGAN + 3 * STEP)


def test_a_run_that_nobody_trains_is_not_left_running_by_a_sweep_that_ends(place: Path) -> None:
    train(place, FIRST, 3)
    tracker = driver(place)
    tracker.sync(RUNS, place)
    client = CLIENT(f"sqlite:///{place}/mlflow.db")
    summarise(tracker, place)
    assert statuses(place) == {"sweep": "FINISHED", "group": "FINISHED", "0": "KILLED"}
    client.update_run(ids(place)["0"], status="RUNNING")  # a request that was given up long ago is carried out
    tracker.inner.connect()
    summarise(tracker, place)
    assert statuses(place)["0"] == "KILLED"


def test_a_run_that_a_slow_server_created_twice_is_shown_once(place: Path) -> None:
    train(place, FIRST, 3)
    tracker = driver(place)
    tracker.sync(RUNS, place)
    before, client = ids(place), CLIENT(f"sqlite:///{place}/mlflow.db")
    for run in of(place):  # creations that the driver had given up
        client.create_run(run.info.experiment_id, start_time=run.info.start_time, tags=run.data.tags)
    assert len(of(place)) == 6
    train(place, FIRST, 5, status="committed")
    tracker.sync(RUNS, place)
    summarise(tracker, place)
    assert ids(place) == before
    assert Counter(statuses(place).values()) == {"FINISHED": 3}
    for run in of(place):
        client.create_run(run.info.experiment_id, start_time=run.info.start_time, tags=run.data.tags)
    driver(place)  # knows none of the ids: keeps the runs with numbers
    assert ids(place)["0"] == before["0"]
    assert len(of(place)) == 3


def test_two_folders_of_one_name_are_two_sweeps(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    for folder, steps in ((place, 3), (other, 5)):
        train(folder, FIRST, steps, status="committed")
    for tracker, folder in ((driver(place), place), (of_other(place, "others"), other)):
        tracker.sync(RUNS, folder)
        summarise(tracker, folder)
    runs = of(place, "tags.kind = 'run'")
    assert {run.data.tags["run_key"] for run in runs} == {FIRST.key}
    assert {run.data.tags["sweep_id"]: run.data.metrics["tokens"] for run in runs} == {"mine": 16, "others": 32}
    assert Counter(run.data.tags["kind"] for run in of(place)) == {"sweep": 2, "group": 2, "run": 2}


def test_a_folder_of_an_earlier_version_goes_on_with_what_has_its_name_and_no_other_folder_does(place: Path) -> None:
    train(place, FIRST, 3)
    train(place, SECOND, 3, status="committed")
    driver(place).sync(RUNS, place)
    client, before = CLIENT(f"sqlite:///{place}/mlflow.db"), ids(place)
    for run_id in before.values():  # as an earlier version has made them
        client.delete_tag(run_id, "sweep_id")
    new = of_other(place, "new")
    assert new.run_id(FIRST.key) is None
    old = of_other(place, "old", adopts=True)
    assert {old.run_id(run.key) for run in RUNS} == {before["0"], before["1"]}
    train(place, FIRST, 5, BEGAN + MINUTE, attempt=2, status="committed")
    old.sync(RUNS, place)
    summarise(old, place)
    assert ids(place) == before
    assert {run.data.tags["sweep_id"] for run in of(place)} == {"old"}
    late = of_other(place, "late", adopts=True)
    assert late.run_id(FIRST.key) is None


def test_a_run_that_cannot_be_read_holds_up_no_other(place: Path) -> None:
    train(place, FIRST, 3, status="committed")
    train(place, SECOND, 3, status="committed")
    file = place / "runs" / FIRST.key / "COMMITTED.json"
    content = file.read_text()
    file.write_text("{")
    tracker = driver(place)
    tracker.sync(RUNS, place)
    assert tracker.behind
    assert "the rest of 1 run" in (tracker.problem or "")
    assert statuses(place)["1"] == "FINISHED"
    file.write_text(content)
    tracker.sync(RUNS, place)
    assert tracker.problem is None
    assert statuses(place)["0"] == "FINISHED"
