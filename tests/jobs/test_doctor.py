"""`doctor` prints a line per check, or one JSON list; it exits with 1 if a check failed, and needs no recipe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import jobs.doctor
from jobs.command import run_job
from tests.helpers.places import ROOT

QUICKSTART = str(ROOT / "recipes" / "quickstart.yaml")


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


def doctor(*words: str) -> int:
    return run_job("doctor", "", jobs.doctor.main, list(words), jobs.doctor.add_options, needs_recipe=False)


def checks(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    said = json.loads(capsys.readouterr().out)
    assert all(set(one) == {"check", "status", "message", "remedy"} for one in said)
    return {one["check"]: one for one in said}


def test_without_a_recipe_this_machine_is_examined(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor("--json") == 0
    assert {"ray", "versions", "room", "names", "gpus"} == set(checks(capsys))


def test_with_a_recipe_its_services_are_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"storage={tmp_path}/sweeps", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"
    assert doctor(QUICKSTART, *words, "--json") == 0
    said = checks(capsys)
    assert {"storage", "base", "rows", "mlflow"} <= set(said)
    assert {one["status"] for one in said.values()} <= {"ok", "warn"}
    assert not (tmp_path / "mlflow.db").exists()


def test_what_fails_is_a_line_with_its_remedy_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    words = f"storage={tmp_path}/file/sweeps", "tracking.uri=none", "cluster.gpus_per_worker=1"
    assert doctor(QUICKSTART, *words) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("fail  storage: ")]
    assert len(failed) == 1
    assert "storage=FOLDER" in failed[0]


def test_a_cluster_that_does_not_answer_is_a_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert doctor("--json") == 1
    said = checks(capsys)
    assert said["ray"]["status"] == "fail"
    assert "ray start --head" in said["ray"]["remedy"]


def test_a_shipped_cluster_file_fails_with_what_is_to_be_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor("--cluster-file", str(ROOT / "cluster.yaml")) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(line.startswith("fail  cluster file: ") and "is a placeholder" in line for line in lines)


def test_a_bad_recipe_ends_with_2_as_in_every_job(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor("no/such.yaml") == 2
    assert "no/such.yaml" in capsys.readouterr().err


def test_a_storage_that_is_none_leaves_the_other_checks(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(QUICKSTART, "storage=ftp://host/sweeps", "tracking.uri=none", "--json") == 1
    said = checks(capsys)
    assert said["storage"]["status"] == "fail"
    assert "s3://BUCKET/PREFIX" in said["storage"]["remedy"]
    assert {"base", "rows", "versions", "room", "mlflow"} <= set(said)
