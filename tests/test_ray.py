"""The real thing: a Ray cluster with a dashboard, two ZeRO-2 workers, MLflow on SQLite, and a driver that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.files import read_lines
from tests.sweeps import RUNS, rows_of, run

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(900),
]
ROOT = Path(__file__).resolve().parents[1]


def start(recipe: Path, *words: str) -> subprocess.Popen[str]:
    """Start the job as a user does, in a process group of its own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "jobs" / "sweep.py"), str(recipe), "cluster.kind=ray", *words],
        cwd=recipe.parent,
        env=environment | {"PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(driver: subprocess.Popen[str]) -> str:
    told, _ = driver.communicate(timeout=600)
    assert driver.returncode == 0, told[-5000:]
    return told


def committed(folder: Path) -> dict[str, int]:
    """Return the committed runs and when their manifest was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("runs/*/COMMITTED.json")}


def wait_for(driver: subprocess.Popen[str], folder: Path, runs: int) -> None:
    """Wait until this many runs are committed."""
    deadline = time.monotonic() + 300
    while len(committed(folder)) < runs:
        assert driver.poll() is None, driver.communicate()[0][-5000:]
        assert time.monotonic() < deadline, f"not {runs} runs committed in 300 s"
        time.sleep(0.1)


def test_two_zero_workers_on_ray_give_what_one_process_gives(recipe: Path, tmp_path: Path) -> None:
    _, _, plain = run(recipe, "champions=false", "tracking.uri=none")
    zero = ("engine.kind=zero", "engine.stage=2", "cluster.workers=2", "cluster.pack=8", f"storage={tmp_path}/zero")
    finish(start(recipe, *zero))
    folder = tmp_path / "zero" / "small"
    for one, other in zip(rows_of(plain), rows_of(folder), strict=True):
        assert other["status"] == "committed"
        assert one["run_key"] == other["run_key"]
        assert one["train_loss"] == pytest.approx(other["train_loss"], abs=1e-5)
        assert one["accuracy"] == other["accuracy"]
    assert (folder / "champions" / "tiny_recall" / "model.safetensors").stat().st_size > 0


def test_a_driver_killed_in_the_middle_loses_nothing_and_trains_nothing_twice(recipe: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    folder = tmp_path / "sweeps" / "small"
    words = ("engine.kind=zero", "cluster.pack=2", "cluster.max_concurrent=1", "champions=false")
    driver = start(recipe, *words)
    wait_for(driver, folder, runs=2)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    before = committed(folder)
    assert 0 < len(before) < RUNS

    told = finish(start(recipe, *words))
    after = committed(folder)
    assert len(after) == RUNS
    assert {key: after[key] for key in before} == before  # not one commit was made again
    known = int(told.split(" done already")[0].split()[-1])
    assert known >= len(before)  # a trainer that outlived the driver may have committed one more
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("small")
    runs = client.search_runs([experiment.experiment_id], "tags.kind = 'run'", max_results=1000)
    assert sorted(one.data.tags["run_key"] for one in runs) == sorted(after)
    for one in runs:
        assert one.info.status == "FINISHED"
        steps = [point.step for point in client.get_metric_history(one.info.run_id, "train_loss")]
        wanted = [row["step"] for row in read_lines(folder / "runs" / one.data.tags["run_key"] / "metrics.jsonl")]
        assert sorted(steps) == wanted
    assert {row["status"] for row in rows_of(folder)} == {"committed"}


def test_control_c_stops_the_sweep_says_so_and_leaves_no_process(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sweeps" / "small"
    words = ("engine.kind=zero", "cluster.pack=2", "cluster.max_concurrent=1", "champions=false", "tracking.uri=none")
    driver = start(recipe, *words)
    wait_for(driver, folder, runs=1)
    children = [int(one) for one in subprocess.check_output(["pgrep", "-P", str(driver.pid)], text=True).split()]
    assert children
    driver.send_signal(signal.SIGINT)
    told, _ = driver.communicate(timeout=90)
    assert driver.returncode == 1
    assert "Interrupted. Committed runs are kept; the same command goes on." in told
    assert 0 < len(committed(folder)) < RUNS
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
