"""A local Ray demands a token of its own and listens on loopback, whatever the environment says."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from orchestrator.cluster.session.local_doors import DOORS, LOOPBACK, MODE, TOKEN, TOKEN_FILE, close_doors
from orchestrator.cluster.session.ray_session import SET_HERE, init_arguments
from orchestrator.cluster.session.temporary import remove_temporary


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in DOORS:
        monkeypatch.setenv(name, "")  # so that the end of the test restores it
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {MODE: "disabled"},
        {MODE: "Disabled", TOKEN: "of another cluster"},
        {MODE: "token"},
        {MODE: "token", TOKEN: " "},
        {MODE: "token", TOKEN_FILE: "/nowhere"},
        {LOOPBACK: "1"},
    ],
)
def test_a_local_ray_gets_a_new_token_that_only_its_owner_reads(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = set()
    for _ in range(2):
        for name in DOORS:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        folder = close_doors()
        assert folder is not None
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        file = folder / "auth_token"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert len(file.read_text()) == 64
        assert {name: os.environ.get(name) for name in DOORS} == {
            MODE: "token",
            TOKEN: None,
            TOKEN_FILE: str(file),
            LOOPBACK: "0",
        }
        tokens.add(file.read_text())
        remove_temporary(folder)
    assert len(tokens) == 2


@pytest.mark.parametrize("where", ["variable", "file", "home"])
def test_a_token_of_the_users_own_is_used(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODE, "token")
    file = tmp_path / (".ray/auth_token" if where == "home" else "mine")
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    if where == "variable":
        monkeypatch.setenv(TOKEN, "mine")
    if where == "file":
        monkeypatch.setenv(TOKEN_FILE, str(file))
    before = {name: os.environ.get(name) for name in (MODE, TOKEN, TOKEN_FILE)}
    assert close_doors() is None
    assert {name: os.environ.get(name) for name in before} == before
    assert os.environ[LOOPBACK] == "0"


def test_all_that_is_set_here_is_restored_when_the_session_ends() -> None:
    assert set(DOORS) <= set(SET_HERE)


def test_variables_that_a_submitted_job_sets_are_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray refuses a variable that job and driver both set."""
    job = {"runtime_env": {"env_vars": {"OMP_NUM_THREADS": "4", "MINE": "1"}}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(job))
    variables = init_arguments(1, {"MINE": "2", "OTHER": "3"})["runtime_env"]["env_vars"]
    assert "OMP_NUM_THREADS" not in variables
    assert "MINE" not in variables
    assert variables["OTHER"] == "3"
    assert variables["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize("config", ["", "{", "[]", '{"runtime_env": null}', '{"runtime_env": {"env_vars": null}}'])
def test_a_job_config_without_variables_changes_nothing(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", config)
    assert init_arguments(2, {})["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == "2"
