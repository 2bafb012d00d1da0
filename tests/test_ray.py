"""The real thing: a Ray cluster, ZeRO workers that stay up, MLflow on SQLite, and killed processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from orchestrator.files import read_lines
from tests.helpers.places import ROOT
from tests.helpers.sweeps import RUNS, rows_of, run, unmeasured

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(900),
]


def start(recipe: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    """Start the job as a user does."""
    return start_script(ROOT / "jobs" / "sweep.py", recipe.parent, str(recipe), "cluster.kind=ray", *words, **variables)


def start_script(script: Path, folder: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    """Start a driver in a process of its own, which starts a Ray of its own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return subprocess.Popen(
        [sys.executable, str(script), *words],
        cwd=folder,
        env=environment | {"PYTHONWARNINGS": "ignore"} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # a background shell's children ignore Ctrl-C; taking a signal back needs no lock that a thread may hold
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
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
    zero = ("engine.kind=zero", "engine.stage=3", "cluster.workers=2", "cluster.pack=4", f"storage={tmp_path}/zero")
    finish(start(recipe, *zero))
    folder = tmp_path / "zero" / "small"
    for one, other in zip(rows_of(plain), rows_of(folder), strict=True):
        assert other["status"] == "committed"
        assert one["run_key"] == other["run_key"]
        assert one["train_loss"] == pytest.approx(other["train_loss"], abs=1e-5)
        assert one["accuracy"] == other["accuracy"]
    assert (folder / "champions" / "tiny_recall" / "model.safetensors").stat().st_size > 0


def test_packs_on_one_warm_trainer_give_what_this_process_gives(recipe: Path, tmp_path: Path) -> None:
    words = ("engine.kind=plain", "cluster.pack=1", "champions=false", "tracking.uri=none")
    _, _, here = run(recipe, *words)
    finish(start(recipe, *words, "cluster.max_concurrent=1", f"storage={tmp_path}/ray"))
    there = rows_of(tmp_path / "ray" / "small")
    assert len(there) == RUNS
    for one, other in zip(rows_of(here), there, strict=True):
        assert one["status"] == "committed"
        assert unmeasured(one) == unmeasured(other)


SMALL = ("tasks=[tiny_recall]", "methods=[lora]", "champions=false", "tracking.uri=none", "engine.kind=plain")


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.mark.rare
def test_what_a_user_has_set_for_another_cluster_does_not_reach_the_ray_of_a_job(recipe: Path, tmp_path: Path) -> None:
    """Proxies that are down, another cluster's dashboard and store: trials end, their workers are freed, next begin."""
    down = f"http://127.0.0.1:{free_port()}"
    elsewhere = {"RAY_ADDRESS": "", "RAY_API_SERVER_ADDRESS": down, "RAY_OVERRIDE_DASHBOARD_URL": down}
    proxies = {"http_proxy": down, "HTTP_PROXY": down, "https_proxy": down, "RAY_REDIS_ADDRESS": down[7:]}
    finish(start(recipe, *SMALL, "cluster.pack=1", "cluster.max_concurrent=1", **elsewhere, **proxies))
    assert {row["status"] for row in rows_of(tmp_path / "sweeps" / "small")} == {"committed"}


@pytest.mark.rare
def test_a_job_joins_the_ray_that_ray_address_names(recipe: Path, tmp_path: Path) -> None:
    address, temp = f"127.0.0.1:{free_port()}", tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    options = ["--port", address.partition(":")[2], "--temp-dir", temp, "--dashboard-port", free_port()]
    command = ["ray", "start", "--head", "--block", "--node-ip-address=127.0.0.1", "--num-cpus=2", *options]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    words = [sys.executable, "-m", "ray.scripts.scripts", *command[1:]]
    with (tmp_path / "head.txt").open("w") as log:
        head = subprocess.Popen(words, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 90
        while "Ray runtime started" not in (tmp_path / "head.txt").read_text():
            assert time.monotonic() < deadline, (tmp_path / "head.txt").read_text()
            time.sleep(0.5)
        told = finish(start(recipe, *SMALL, "cluster.pack=2", RAY_ADDRESS=address))
        assert "starting or joining Ray" in told
        assert {row["status"] for row in rows_of(tmp_path / "sweeps" / "small")} == {"committed"}
        assert head.poll() is None  # the cluster is another's: the job leaves it as it was
    finally:
        head.send_signal(signal.SIGTERM)
        head.wait(60)
        shutil.rmtree(temp, ignore_errors=True)


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.rare), 2])
def test_packs_share_processes_one_that_fails_fails_alone_and_one_that_loses_a_worker_goes_on(
    tmp_path: Path, workers: int
) -> None:
    packs = ["fine-0", "raises-1", "fine-2", "dies-3", "fine-4", "fine-5"]
    finish(
        start_script(
            ROOT / "tests" / "helpers" / "programs" / "ray_packs.py", tmp_path, str(tmp_path), str(workers), *packs
        )
    )
    out = json.loads((tmp_path / "out.json").read_text())
    assert sorted(out["failures"]) == ["raises-1"]
    assert out["failures"]["raises-1"].strip().endswith("ValueError: raises-1 is bad")
    assert out["later"] == {}
    assert set(out["groups"]) == {"REMOVED"}  # what trials and trainers held is free when something else wants it
    for rank in range(workers):
        seen = [line.split() for line in (tmp_path / f"rank{rank}.txt").read_text().splitlines()]
        # every pack once, in its order; the pack whose worker died comes again before those that waited, and the round
        # that came later last
        assert [pack for pack, _, _ in seen] == [*packs[:4], "dies-3", *packs[4:], packs[-1]]
        # each process unpickles its trainer once: a base that the trainer keeps is there for the next pack
        processes = [number for _, number, _ in seen]
        assert [calls for _, _, calls in seen] == ["1", "2", "1", "2", "1", "2", "3", "4"]
        assert processes == [processes[first] for first in (0, 0, 2, 2, 4, 4, 4, 4)]
        assert len(set(processes)) == 3


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


@pytest.mark.parametrize(
    ("sent", "word", "code"),
    [pytest.param(signal.SIGINT, "Interrupted", 130, marks=pytest.mark.rare), (signal.SIGTERM, "Terminated", 143)],
)
def test_a_signal_stops_the_sweep_which_says_so_and_leaves_no_process(
    recipe: Path, tmp_path: Path, sent: signal.Signals, word: str, code: int
) -> None:
    folder = tmp_path / "sweeps" / "small"
    words = ("engine.kind=zero", "cluster.pack=2", "cluster.max_concurrent=1", "champions=false", "tracking.uri=none")
    driver = start(recipe, *words, "seeds=[0,1,2,3,4,5,6,7]")  # so many that it is not done before it is stopped
    wait_for(driver, folder, runs=1)
    children = [int(one) for one in subprocess.check_output(["pgrep", "-P", str(driver.pid)], text=True).split()]
    assert children
    driver.send_signal(sent)
    told, _ = driver.communicate(timeout=90)
    assert driver.returncode == code
    assert f"{word}. Runs are kept as far as they were saved; the same command goes on." in told
    assert 0 < len(committed(folder)) < 4 * RUNS
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


@pytest.mark.rare
def test_sigterm_to_a_sweep_on_a_cluster_that_it_has_joined_has_the_same_sentence_and_code(
    recipe: Path, tmp_path: Path
) -> None:
    """As `ray job stop`: `ray.init` sets a handler of SIGTERM of its own, which would exit with code 15."""
    from ray.cluster_utils import Cluster

    folder = tmp_path / "sweeps" / "small"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        words = ("tasks=[tiny_recall]", "seeds=[0,1,2,3,4,5,6,7]", "cluster.pack=1", "champions=false")
        driver = start(recipe, *words, "tracking.uri=none", "engine.kind=plain", RAY_ADDRESS=cluster.address)
        wait_for(driver, folder, runs=1)
        driver.send_signal(signal.SIGTERM)
        told, _ = driver.communicate(timeout=90)
    finally:
        cluster.shutdown()
    assert driver.returncode == 143, told[-5000:]
    assert "Terminated. Runs are kept as far as they were saved; the same command goes on." in told
