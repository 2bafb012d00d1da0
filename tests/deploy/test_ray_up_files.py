"""Ray takes every file of `ray up` that ships, and each brings this checkout and the token as it should."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cluster.cluster_files import SHIPPED, Config, shipped
from tests.helpers.places import ROOT

CLOUDS = ("cluster.yaml", "deploy/gcp.yaml")


def prepared(config: Config) -> dict[str, Any]:
    """Return the configuration as Ray completes and validates it."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    complete = prepare_config(config)
    validate_config(complete)
    assert isinstance(complete, dict)
    return complete


@pytest.mark.parametrize("name", CLOUDS)
def test_ray_accepts_a_cloud(name: str) -> None:
    complete = prepared(shipped(name))
    types = complete["available_node_types"]
    assert complete["head_node_type"] == "head"
    assert types["head"]["resources"] == {"CPU": 0, "GPU": 0}
    assert (types["gpu"]["min_workers"], types["gpu"]["resources"]["GPU"]) == (0, 1)
    assert types["gpu"]["max_workers"] <= complete["max_workers"]


def test_ray_accepts_machines_of_ones_own_and_keeps_all_of_them() -> None:
    (kind,) = prepared(shipped("deploy/local.yaml"))["available_node_types"].values()
    assert kind["min_workers"] == kind["max_workers"] == 2


@pytest.mark.parametrize("name", SHIPPED)
def test_ray_refuses_a_word_that_it_does_not_know(name: str) -> None:
    from jsonschema import ValidationError

    with pytest.raises(ValidationError, match="idle_minutes"):
        prepared({**shipped(name), "idle_minutes": 15})


@pytest.mark.parametrize("name", CLOUDS)
def test_a_cloud_installs_this_checkout_and_leaves_out_what_it_makes(name: str) -> None:
    config = shipped(name)
    code = next(there for there, here in config["file_mounts"].items() if here == ".")
    folder = code.replace("/home/ubuntu", "~")
    assert any(f"cd {folder} && make .venv/.installed" in command for command in config["setup_commands"])
    assert "-c constraints.txt" in (ROOT / "Makefile").read_text()
    assert {"**/.git/**", "**/.venv/**", "/sweeps", "/.cache"} <= set(config["rsync_exclude"])


@pytest.mark.parametrize("name", SHIPPED)
def test_the_token_travels_as_a_file_that_only_its_owner_reads(name: str) -> None:
    config = shipped(name)
    assert "~/.ray/auth_token" in config["file_mounts"].values()
    assert "mkdir -p ~/.ray && chmod 700 ~/.ray" in config["initialization_commands"]
    assert "chmod 600 ~/.ray/auth_token" in config["setup_commands"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shell_can_read_every_command(name: str) -> None:
    config = shipped(name)
    lists = [value for key, value in config.items() if key.endswith("_commands")]
    for command in (command for commands in lists for command in commands):
        done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, timeout=10, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"


@pytest.mark.parametrize("name", SHIPPED)
def test_every_file_that_a_command_runs_is_in_the_checkout(name: str) -> None:
    words = [word for command in shipped(name)["head_start_ray_commands"] for word in command.split()]
    scripts = [word.rpartition("deploy/")[2] for word in words if "deploy/" in word]
    assert scripts or name == "deploy/local.yaml"
    assert all((ROOT / "deploy" / script).is_file() for script in scripts)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_head_of_a_file_names_the_first_autoscaler_and_itself(name: str) -> None:
    text = Path(ROOT / name).read_text()
    assert "RAY_UP_enable_autoscaler_v2=0" in text
    assert f"ray up {name}" in text
