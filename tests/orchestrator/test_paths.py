"""Relative places: below the working directory, unless that is an uploaded copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.paths import HOME, UPLOADED, resolve, root


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(HOME, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def uploaded(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = here / "session" / UPLOADED / "_ray_pkg_1"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    return copy


def test_places_start_from_the_working_directory(here: Path) -> None:
    assert (root(), resolve("./sweeps"), resolve("a/b")) == (here, here / "sweeps", here / "a/b")


def test_a_job_in_an_uploaded_copy_writes_to_the_home_instead(here: Path, uploaded: Path) -> None:
    assert resolve("sweeps") == here / "home" / "d2lora" / "sweeps"


def test_the_named_home_goes_before_everything(here: Path, uploaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME, "~/mine")
    assert resolve("sweeps") == here / "home" / "mine" / "sweeps"
    monkeypatch.chdir(here)
    monkeypatch.setenv(HOME, "below")
    assert resolve("sweeps") == here / "below" / "sweeps"


def test_absolute_places_and_those_of_a_user_stay(here: Path) -> None:
    assert (resolve("/data/x"), resolve("~/x")) == (Path("/data/x"), here / "home" / "x")
