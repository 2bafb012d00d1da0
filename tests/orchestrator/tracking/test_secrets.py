"""A password in the tracker's address is in nothing that a sweep leaves: no print, no file, nothing in MLflow."""

from __future__ import annotations

from pathlib import Path

import pytest

import jobs.sweep
from jobs.command import run_job
from tests.helpers.servers import mlflow_server

PASSWORD = "S3CRETword"
WORDS = ["tasks=[tiny_recall]", "methods=[lora]", "seeds=[0]"]


def leaks(folder: Path) -> list[str]:
    """Return the files below ``folder`` that hold the password, in whatever bytes."""
    return [str(file) for file in folder.rglob("*") if file.is_file() and PASSWORD.encode() in file.read_bytes()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "way", ["argument", *(pytest.param(way, marks=pytest.mark.rare) for way in ("mapping", "environment"))]
)
def test_a_sweep_on_a_server_that_is_down_leaves_the_password_nowhere(
    way: str, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"http://ann:{PASSWORD}@127.0.0.1:9"
    words = {
        "argument": [f"tracking.uri={address}"],
        "mapping": [f"tracking={{uri: '{address}', experiment: e}}"],
        "environment": ["tracking={experiment: e}"],
    }[way]
    if way == "environment":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert run_job("sweep", "test", jobs.sweep.main, [str(recipe), *WORDS, *words]) == 1
    printed = capsys.readouterr()
    assert "127.0.0.1:9" in printed.out
    assert PASSWORD not in printed.out + printed.err
    assert (tmp_path / "sweeps/small/report.html").exists()
    assert leaks(tmp_path) == []


@pytest.mark.slow
@pytest.mark.rare
def test_a_sweep_on_a_server_that_answers_leaves_the_password_nowhere(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mlflow_server(f"sqlite:///{tmp_path}/server.db", tmp_path) as server:
        address = server.replace("://", f"://ann:{PASSWORD}@")
        assert run_job("sweep", "test", jobs.sweep.main, [str(recipe), *WORDS, f"tracking.uri={address}"]) == 0
    printed = capsys.readouterr()
    assert f"runs:   {server}" in printed.out
    assert PASSWORD not in printed.out + printed.err
    assert (tmp_path / "artefacts").is_dir()
    assert leaks(tmp_path) == []


@pytest.mark.parametrize(
    "word",
    [
        f"tracking.uri=ann:{PASSWORD}@h:5000",
        f"tracking.uri=postgres://ann:{PASSWORD}@h/d",
        f"tracking.uri=http://ann:{PASSWORD} x@h",
        f"tracking.uri=http://h?token={PASSWORD}",
        f"tracking={{uri: [http://ann:{PASSWORD}@h]}}",
        f"tracking={{uri: 'http://ann:{PASSWORD}@h', expriment: e}}",
        f"trakcing.uri=http://ann:{PASSWORD}@h",
        f"tracking.uri=postgresql+nodriver://ann:{PASSWORD}@h/d",
        f"tracking.uri=http://ann:{PASSWORD}/x@h",
        f"tracking.uri='http://ann:{PASSWORD}@h",
    ],
)
def test_a_refusal_does_not_show_the_password(word: str, recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_job("sweep", "test", jobs.sweep.main, [str(recipe), word]) == 2
    printed = capsys.readouterr()
    assert printed.err
    assert PASSWORD not in printed.out + printed.err
