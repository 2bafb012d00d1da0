"""Five nights of the real recipe, and another tokeniser under its base; the same through a cluster and PostgreSQL."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator.recipe.read import read_recipe
from orchestrator.store.nights_folder import NightsFolder
from tests.helpers import planted
from tests.helpers.places import ROOT
from tests.helpers.servers import free_port, mlflow_server, postgresql
from tests.helpers.webhooks import Webhook, webhook

pytestmark = [pytest.mark.slow, pytest.mark.rare, pytest.mark.timeout(3600)]

RECIPE = ROOT / "recipes" / "nightly.yaml"
SITE = ROOT / "tests" / "helpers" / "planted" / "site"
RAY = (sys.executable, "-m", "ray.scripts.scripts")
FIVE = [
    ("2026-11-01", "", 0, "within_noise"),
    ("2026-11-02", "", 0, "same_bytes"),
    ("2026-11-03", planted.HARMLESS, 0, "within_noise"),
    ("2026-11-04", planted.BUG, 1, "worse"),
    ("2026-11-05", "", 0, "better"),
]
"""Date, planted change, exit code and verdict of each night."""

Run = Callable[[tuple[str, ...], Mapping[str, str]], tuple[int, str]]
"""Runs a night with these words and these variables; returns its exit code and what was printed."""


def variables(hook: Webhook, kind: str) -> dict[str, str]:
    secrets = {"NIGHTLY_WEBHOOK_URL": hook.address, "NIGHTLY_WEBHOOK_SECRET": "a secret"}
    return secrets | {"D2LORA_PLANTED": kind, "PYTHONPATH": f"{ROOT}:{SITE}"}


def content(words: tuple[str, ...], night: str) -> dict[str, Any]:
    nights = NightsFolder.of(read_recipe(RECIPE, words))
    return dict(json.loads(nights.night(night).night_json.read_text()))


def five_nights(run: Run, words: tuple[str, ...], hook: Webhook) -> dict[str, float]:
    """Run the nights; AssertionError if a verdict is another; return the seconds of each."""
    seconds = {}
    for night, kind, code, verdict in FIVE:
        begin = time.monotonic()
        ended, printed = run((*words, f"night={night}"), variables(hook, kind))
        seconds[night] = time.monotonic() - begin
        assert ended == code, printed[-5000:]
        assert content(words, night)["verdict"] == verdict, printed[-5000:]
    assert [message["verdict"] for message in hook.messages] == ["worse"]
    assert content(words, "2026-11-02")["frontier"]["trained"] == 0
    culprit = content(words, "2026-11-04")["culprit"]
    assert culprit["first_bad"] == "2026-11-04"
    assert (culprit["task"], culprit["method"]) in {(cell["task"], cell["method"]) for cell in worse_cells(words)}
    return seconds


def worse_cells(words: tuple[str, ...]) -> list[dict[str, Any]]:
    return [cell for cell in content(words, "2026-11-04")["cells"] if cell["status"] == "worse"]


def here(words: tuple[str, ...], more: Mapping[str, str]) -> tuple[int, str]:
    """Run a night as a process of this machine."""
    command = [sys.executable, "jobs/nightly.py", str(RECIPE), *words]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **more}, capture_output=True, text=True, timeout=1200, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_five_nights_of_the_real_recipe_and_another_tokeniser_under_its_base(tmp_path: Path) -> None:
    words = (f"storage={tmp_path}/sweeps", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db")
    with webhook() as hook:
        seconds = five_nights(here, words, hook)
        base = next((tmp_path / "sweeps" / ".cache" / "models").glob("tiny-*"))
        moved = tmp_path / "moved"
        shutil.copytree(base, moved)
        tokenizer = json.loads((moved / "tokenizer.json").read_text())
        vocabulary = tokenizer["model"]["vocab"]
        vocabulary["bread"], vocabulary["cheese"] = vocabulary["cheese"], vocabulary["bread"]
        (moved / "tokenizer.json").write_text(json.dumps(tokenizer))
        night = "2026-11-06"
        ended, printed = here((*words, f"model.path={moved}", f"night={night}"), variables(hook, ""))
        assert (ended, content(words, night)["verdict"]) == (0, "ruler_moved"), printed
        assert [message["verdict"] for message in hook.messages] == ["worse"]
    assert seconds["2026-11-02"] < 120, seconds


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """A cluster of this machine, as README starts it, with a token; the address of its dashboard."""
    temp, home = tempfile.mkdtemp(prefix="ray-", dir="/tmp"), tmp_path / "home"
    home.mkdir()
    names = ("--port", "--dashboard-port", "--dashboard-agent-listen-port")  # another Ray may have the usual ones
    ports = {name: str(free_port()) for name in names}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment |= {"RAY_AUTH_MODE": "token", "HOME": str(home), "PATH": path}
    subprocess.run([*RAY, "get-auth-token", "--generate"], env=environment, check=True, stdout=subprocess.DEVNULL)
    options = ("--head", "--block", "--node-ip-address=127.0.0.1", "--num-cpus=2", "--temp-dir", temp)
    options += tuple(word for pair in ports.items() for word in pair)
    with (tmp_path / "head.txt").open("w") as log:
        head = subprocess.Popen([*RAY, "start", *options], env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while "Ray runtime started" not in (tmp_path / "head.txt").read_text():
            assert time.monotonic() < deadline, (tmp_path / "head.txt").read_text()
            time.sleep(0.5)
        address = f"http://127.0.0.1:{ports['--dashboard-port']}"
        trial = [*RAY, "job", "submit", "--address", address, "--", "true"]
        while subprocess.run(trial, env=environment, capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, "no job could be submitted"  # the head takes jobs some seconds later
            time.sleep(1)
        yield address
    finally:
        head.send_signal(signal.SIGTERM)
        head.wait(60)
        shutil.rmtree(temp, ignore_errors=True)


@pytest.mark.ray
def test_the_same_nights_through_ray_job_submit_with_mlflow_on_postgresql(cluster: str, tmp_path: Path) -> None:
    own = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    own |= {"RAY_AUTH_MODE": "token", "HOME": str(tmp_path / "home")}

    def submitted(words: tuple[str, ...], more: Mapping[str, str]) -> tuple[int, str]:
        job = ("python", "jobs/nightly.py", str(RECIPE), *words)
        runtime = json.dumps({"env_vars": {**more, "RAY_AUTH_MODE": "token"}})
        submit = (*RAY, "job", "submit", "--address", cluster, "--working-dir", str(ROOT))
        command = [*submit, "--runtime-env-json", runtime, "--", *job]
        done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=1200, check=False)
        return done.returncode, done.stdout + done.stderr

    (tmp_path / "artefacts").mkdir()
    with webhook() as hook, postgresql() as database, mlflow_server(database, tmp_path / "artefacts") as server:
        words = (f"storage={tmp_path}/sweeps", f"tracking.uri={server}", "cluster.kind=ray")
        five_nights(submitted, words, hook)
        from mlflow import MlflowClient

        client = MlflowClient(server)
        experiment = client.get_experiment_by_name("nightly-nights")
        runs = client.search_runs([experiment.experiment_id], "tags.verdict != ''")
        shown = {run.data.tags["night"]: run.data.tags["verdict"] for run in runs if "night" in run.data.tags}
        assert {night: shown.get(night) for night, *_ in FIVE} == {night: verdict for night, _, _, verdict in FIVE}
