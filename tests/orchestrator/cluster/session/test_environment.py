"""What of the driver's environment reaches its trainers, and which files a submitted job uploads."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from orchestrator.cluster.session.environment import for_trainers
from orchestrator.cluster.session.ray_session import init_arguments
from orchestrator.recipe.variables import SET_HERE, checked
from tests.helpers.places import ROOT

DRIVER = {
    "NCCL_SOCKET_IFNAME": "eth0",
    "GLOO_SOCKET_IFNAME": "eth0",
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
    "HF_HOME": "/shared/hf",
    "HF_TOKEN": "hf_secret",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "MLFLOW_TRACKING_PASSWORD": "secret",
    "PATH": "/bin",
}


def test_what_ranks_need_travels_and_no_secret_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    variables = for_trainers(DRIVER, {"NCCL_SOCKET_IFNAME": "ib0", "MINE": "1"})
    wanted = {"NCCL_SOCKET_IFNAME": "ib0", "MINE": "1", "GLOO_SOCKET_IFNAME": "eth0", "HF_HOME": "/shared/hf"}
    assert variables == wanted | {"TORCH_NCCL_ASYNC_ERROR_HANDLING": "1"}
    listed = json.dumps(init_arguments(1, variables))  # what Ray shows of the job
    assert "secret" not in listed
    assert "ib0" in listed


def test_what_the_job_was_submitted_with_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    job = {"runtime_env": {"env_vars": {"NCCL_SOCKET_IFNAME": "mlx", "MINE": "2"}}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(job))
    own = init_arguments(1, for_trainers(DRIVER, {"MINE": "1"}))["runtime_env"]["env_vars"]
    assert not {"NCCL_SOCKET_IFNAME", "MINE"} & own.keys()
    assert own["HF_HOME"] == "/shared/hf"


@pytest.mark.parametrize("name", sorted(set(init_arguments(1, {})["runtime_env"]["env_vars"]) | set(SET_HERE)))
def test_a_recipe_changes_nothing_on_which_trainers_rely(name: str) -> None:
    if name in ("TOKENIZERS_PARALLELISM", "MLFLOW_DISABLE_TELEMETRY", "PYTHONWARNINGS"):
        assert checked({name: "x"}) == {name: "x"}  # harmless
        return
    with pytest.raises(ValueError, match="Leave it out"):
        checked({name: "x"})


UPLOADED = """
import os, pathlib
from ray._private.runtime_env.packaging import get_excludes_from_ignore_files
root = pathlib.Path(".").absolute()
leave = get_excludes_from_ignore_files(root, include_gitignore=True)
size, names = 0, []
for place, folders, files in os.walk(root):
    here = pathlib.Path(place)
    folders[:] = [one for one in folders if not any(out(here / one) or out(here / one / "x") for out in leave)]
    for file in files:
        if not any(out(here / file) for out in leave):
            names.append(str((here / file).relative_to(root)))
            size += (here / file).lstat().st_size
print(size)
print("\\n".join(names))
"""


@pytest.mark.slow
def test_a_submitted_job_uploads_what_it_needs_and_little_more() -> None:
    """By Ray's own reading of .gitignore and .rayignore."""
    done = subprocess.run([sys.executable, "-c", UPLOADED], capture_output=True, text=True, cwd=ROOT, check=True)
    size, *names = done.stdout.splitlines()
    assert int(size) < 3_000_000
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=True).stdout.split(
        "\n"
    )
    needed = [name for name in tracked if name.startswith(("d2lora/", "orchestrator/", "jobs/", "recipes/"))]
    assert set(needed) <= set(names)
    assert not [name for name in names if name.startswith(("tests/", ".git/", "docs/", ".venv", "benchmarks/"))]
