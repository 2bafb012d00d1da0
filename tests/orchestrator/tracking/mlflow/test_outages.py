"""Outages of MLflow in the middle of a sweep: everything is there once in the end, and nothing was said that passed."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pytest

from orchestrator.tracking.mlflow.tracker import MlflowTracker
from orchestrator.tracking.patient import Patience, PatientTracker
from tests.helpers.faults.proxy import dropping
from tests.helpers.faults.tracked_once import assert_tracked_once, tracked
from tests.helpers.places import ROOT
from tests.helpers.servers import free_port, mlflow_process, mlflow_server
from tests.helpers.sweeps import rows_of, run
from tests.orchestrator.tracking.mlflow.test_left_running import statuses
from tests.orchestrator.tracking.mlflow.test_tracker import CLIENT, ME, QUICK, RUNS, SWEEP, write


def test_an_experiment_that_is_deleted_meanwhile_is_told_with_the_remedy_and_all_is_there_after_it(place: Path) -> None:
    said: list[str] = []
    tracker = PatientTracker(
        MlflowTracker(SWEEP, f"sqlite:///{place}/mlflow.db", "a test", ME), said.append, Patience(pause=0.0)
    )
    tracker.connect()
    write(place, RUNS[0], 3)
    tracker.sync(RUNS, place)
    client = CLIENT(f"sqlite:///{place}/mlflow.db")
    experiment = client.get_experiment_by_name("tracked").experiment_id
    client.delete_experiment(experiment)
    write(place, RUNS[0], 5, end="COMMITTED")
    for _ in range(3):
        tracker.sync(RUNS, place)
    assert re.search(r"'tracked' is deleted\. Restore it: .* restore .*Waiting does not mend", tracker.problem or "")
    assert "the rest of 1 run" in (tracker.problem or "")
    assert len(said) == 1
    client.restore_experiment(experiment)
    tracker.sync(RUNS, place)
    assert tracker.problem is None
    assert statuses(place)["0"] == "FINISHED"
    history = client.get_metric_history(tracker.run_id(RUNS[0].key), "tokens")
    assert sorted(point.step for point in history) == [0, 1, 2, 3, 4]


@contextmanager
def held(database: Path, seconds: float) -> Iterator[None]:
    """Within: for ``seconds`` another program writes to the database; then it has ended."""
    begun = threading.Event()

    def hold() -> None:
        with sqlite3.connect(database, timeout=60, isolation_level=None) as connection:
            connection.execute("begin exclusive")
            begun.set()
            time.sleep(seconds)
            connection.execute("commit")

    thread = threading.Thread(target=hold)
    thread.start()
    assert begun.wait(60)
    try:
        yield
    finally:
        thread.join()


READER = """
import sqlite3, sys
for _ in range(500):
    with sqlite3.connect(sys.argv[1], timeout=60) as database:
        database.execute("select count(*) from metrics").fetchone()
"""


@pytest.mark.slow
@pytest.mark.rare
def test_a_database_that_others_read_and_one_holds_for_ten_seconds_loses_nothing_and_nothing_is_said(
    place: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    said: list[str] = []
    tracker = PatientTracker(MlflowTracker(SWEEP, f"sqlite:///{place}/mlflow.db", "a test", ME), said.append, QUICK)
    tracker.connect()
    readers = [subprocess.Popen([sys.executable, "-c", READER, str(place / "mlflow.db")]) for _ in range(8)]
    for steps in range(1, 20):
        write(place, RUNS[0], steps)
        tracker.sync(RUNS, place)
    with held(place / "mlflow.db", 10.0):
        write(place, RUNS[0], 30, end="COMMITTED")
        tracker.sync(RUNS, place)
    assert [reader.wait(60) for reader in readers] == [0] * 8
    assert (said, tracker.behind) == ([], None)
    assert statuses(place)["0"] == "FINISHED"
    client = CLIENT(f"sqlite:///{place}/mlflow.db")
    assert len(client.get_metric_history(tracker.run_id(RUNS[0].key), "tokens")) == 30
    assert "locked" not in "".join(capfd.readouterr())


@pytest.mark.slow
@pytest.mark.rare
def test_a_sweep_of_whose_replies_every_tenth_is_lost_is_there_once(recipe: Path, tmp_path: Path) -> None:
    with mlflow_server(f"sqlite:///{tmp_path}/server.db", tmp_path) as server, dropping(server, 0.1, seed=7) as proxy:
        code, printed, folder = run(recipe, f"tracking.uri={proxy.address}")
        assert len(proxy.dropped) > 10
        starts = 1
        while code and starts < 4:  # a sweep that is not complete says so, and the same command sends the rest
            code, printed, folder = run(recipe, f"tracking.uri={proxy.address}")
            starts += 1
        assert code == 0, printed
        assert_tracked_once(server, folder)
        assert {row["status"] for row in rows_of(folder)} == {"committed"}


@pytest.mark.slow
@pytest.mark.rare
@pytest.mark.parametrize("fault", ["killed", "stopped"])
def test_a_server_that_vanishes_in_the_middle_of_a_sweep_has_everything_once_after_it_is_back(
    recipe: Path, tmp_path: Path, fault: str
) -> None:
    port, backend = free_port(), f"sqlite:///{tmp_path}/server.db"
    words = [f"tracking.uri=http://127.0.0.1:{port}", "optim.epochs=40", "champions=false"]
    results: list[Any] = []
    with mlflow_process(backend, tmp_path, port) as server:
        sweep = threading.Thread(target=lambda: results.append(run(recipe, *words)))
        sweep.start()
        folder = tmp_path / "sweeps" / "small"
        _until(lambda: len(list(folder.glob("runs/*/COMMITTED.json"))) >= 1)
        if fault == "killed":
            server.signal(signal.SIGKILL)
        else:
            server.signal(signal.SIGSTOP)
            time.sleep(30)
            server.signal(signal.SIGCONT)
        sweep.join(300)
        ((code, printed, _),) = results
        assert {row["status"] for row in rows_of(folder)} == {"committed"}
        if fault == "killed":
            assert code == 1
            assert "The same command sends the rest." in printed
    with mlflow_process(backend, tmp_path, port) as server:
        code, printed, _ = run(recipe, *words)
        assert code == 0, printed
        assert "0 to train" in printed
        assert_tracked_once(server.address, folder)


PROGRAM = """
import sys

import jobs.sweep
from jobs.command import run_job
from orchestrator.driver import syncing

syncing.SYNC_SECONDS = 1.0
sys.exit(run_job("sweep", "test", jobs.sweep.main))
"""


@pytest.mark.slow
@pytest.mark.rare
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_sweep_that_is_ended_by_a_signal_leaves_runs_that_the_next_one_continues_under_their_ids(
    recipe: Path, place: Path, tmp_path: Path, number: int
) -> None:
    words, folder = ["optim.epochs=40", "champions=false"], tmp_path / "sweeps" / "small"
    uri = f"sqlite:///{place}/mlflow.db"
    sweep = subprocess.Popen([sys.executable, "-c", PROGRAM, str(recipe), *words], cwd=ROOT)
    try:
        _until(lambda: (folder / "sweep.json").exists() and len(_running(uri, folder)) >= 1)
        before = {one.data.tags["run_key"]: one.info.run_id for one in _running(uri, folder)}
        sweep.send_signal(number)
        start = time.monotonic()
        assert sweep.wait(60) == {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}[number]
        assert time.monotonic() - start < 15
    finally:
        sweep.kill()
        sweep.wait()
    left = {one.info.status for one in tracked(uri, folder)}
    assert ("RUNNING" in left) == (number == signal.SIGKILL), left
    code, printed, _ = run(recipe, *words)
    assert code == 0, printed
    assert_tracked_once(uri, folder)
    after = {one.data.tags.get("run_key"): one.info.run_id for one in tracked(uri, folder)}
    assert before.items() <= after.items()


def _running(uri: str, folder: Path) -> list[Any]:
    """Return the runs that MLflow shows as running; none as long as there is no experiment."""
    if not mlflow.MlflowClient(uri).get_experiment_by_name("small"):
        return []
    return [one for one in tracked(uri, folder) if one.data.tags["kind"] == "run" and one.info.status == "RUNNING"]


def _until(condition: Any) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)
