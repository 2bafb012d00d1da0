"""Secrets of the environment and of addresses: a sweep of which a run crashes leaves them in nothing that it writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.places import ROOT

VARIABLES = {
    "MLFLOW_TRACKING_USERNAME": "canary-of-a-user",
    "MLFLOW_TRACKING_PASSWORD": "canary-of-a-password",
    "MLFLOW_TRACKING_TOKEN": "canary-of-a-tracking-token",
    "AWS_ACCESS_KEY_ID": "canary-of-a-key-id",
    "AWS_SECRET_ACCESS_KEY": "canary-of-a-secret-key",
    "HF_TOKEN": "canary-of-the-hub",
    "RAY_AUTH_TOKEN": "canary-of-ray",
    "MLFLOW_TRACKING_URI": "http://ann:canary-of-userinfo@127.0.0.1:9/x?token=canary-of-a-query",
}
CANARY = b"canary-of-"
CRASH = """
import runpy, sys
sys.argv = sys.argv[1:]
import orchestrator.worker.run_in_training as room

def crash(*_, **__):
    raise RuntimeError("cannot reach https://ann:canary-of-userinfo@host/x?token=canary-of-a-query#canary-of-a-part")

room.RunInTraining.log = crash
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def holding(*folders: Path) -> list[str]:
    """Return the files that hold a planted secret, in whatever bytes."""
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]
    return [str(file) for file in files if CANARY in file.read_bytes()]


def sweep(recipe: Path, *words: str, crash: bool) -> subprocess.CompletedProcess[str]:
    """Run a sweep in a process of its own, whose environment has the secrets."""
    script = str(ROOT / "jobs" / "sweep.py")
    command = [sys.executable, *(["-c", CRASH, script] if crash else [script]), str(recipe)]
    small = ["tasks=[tiny_recall]", "methods=[lora]", "seeds=[0]", *words]
    environment = os.environ | VARIABLES | {"PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, *small], env=environment, cwd=recipe.parent, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "crash", [pytest.param(False, id="done", marks=pytest.mark.rare), pytest.param(True, id="crashed")]
)
def test_no_secret_is_in_what_a_sweep_prints_or_leaves(crash: bool, recipe: Path, tmp_path: Path) -> None:
    done = sweep(recipe, crash=crash)
    assert done.returncode == int(crash), done.stdout + done.stderr
    assert "MLFLOW_TRACKING_URI=http://127.0.0.1:9/x is passed over" in done.stdout
    assert "canary-of-" not in done.stdout + done.stderr
    assert (tmp_path / "mlflow.db").exists()
    assert (tmp_path / "sweeps" / "small" / "report.html").exists()
    if crash:
        assert (
            "cannot reach https://host/x" in done.stdout + next((tmp_path / "sweeps").rglob("*.error.txt")).read_text()
        )
    assert holding(tmp_path) == []


@pytest.mark.slow
@pytest.mark.rare
def test_the_address_of_the_environment_is_used_and_shown_without_its_secrets(recipe: Path, tmp_path: Path) -> None:
    """Its query is refused, and the message does not repeat it."""
    done = sweep(recipe, "tracking={experiment: e}", crash=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "environment variable MLFLOW_TRACKING_URI" in done.stderr
    assert "canary-of-" not in done.stdout + done.stderr
    assert holding(tmp_path) == []
