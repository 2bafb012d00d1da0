"""A local database that cannot be opened is refused at once, with a remedy that works."""

from __future__ import annotations

import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from sqlalchemy.engine import make_url

from orchestrator.errors import InputError
from orchestrator.tracking.mlflow.database.local_database import look_at_database
from orchestrator.tracking.mlflow.database.schema import newest, older
from orchestrator.tracking.mlflow.tracker import MlflowTracker
from orchestrator.tracking.sqlite_address import absolute, address_of, file_of
from tests.orchestrator.tracking.mlflow.test_tracker import ME, SWEEP

STRANGE = ["später #1 100%25 a?b", "plain", "ä b#c", "100% a@b:c", "a+b&c=d", "a%20b", "?"]


def set_version(file: Path, version: str) -> None:
    with sqlite3.connect(file) as database:
        database.execute("update alembic_version set version_num = ?", [version])


def remedy_of(file: Path) -> str:
    """Return what the refusal of ``file`` says to do."""
    with pytest.raises(InputError) as refused:
        look_at_database(f"sqlite:///{file}")
    assert str(file) in str(refused.value)
    return str(refused.value)


@pytest.mark.slow
def test_a_database_of_an_older_mlflow_is_refused_and_mlflows_own_command_mends_it(tmp_path: Path, empty: Path) -> None:
    file = tmp_path / "a 'b" / "mlflow.db"
    file.parent.mkdir()
    uri = address_of(file)
    older_one = "bd07f7e963c5"
    assert older(older_one)
    shutil.copy(empty, file)
    with sqlite3.connect(file) as database:  # the newest step alone is taken back
        database.execute("create table kept (x)")
    config_of(uri, "downgrade", "-1")
    refusal = remedy_of(file)
    assert "older MLflow" in refusal
    (command,) = re.findall(r"(mlflow db upgrade .*)$", refusal)
    subprocess.run([sys.executable, "-m", *shlex.split(command)], check=True, capture_output=True)
    look_at_database(uri)
    MlflowTracker(SWEEP, uri, "a test", ME).connect()


def config_of(uri: str, command: str, step: str) -> None:
    """Move a database by alembic, as MLflow does."""
    import alembic.command
    from mlflow.store.db.utils import _get_alembic_config

    getattr(alembic.command, command)(_get_alembic_config(uri), step)


def test_a_database_of_a_newer_mlflow_or_another_program_is_not_to_be_upgraded(place: Path) -> None:
    look_at_database(f"sqlite:///{place}/mlflow.db")
    set_version(place / "mlflow.db", "of-another")
    refusal = remedy_of(place / "mlflow.db")
    assert "newer MLflow, or of another program" in refusal
    assert "upgrade" not in refusal
    assert not older(newest())


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "text.db"
    file.write_text("not a database, but long enough to be looked at\n" * 9)
    assert "file is not a database" in remedy_of(file)
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"SQLite format 3\0" + b"\xff" * 500)
    remedy_of(damaged)


def test_a_folder_is_refused_and_the_file_within_is_taken(tmp_path: Path) -> None:
    (tmp_path / "dir.db").mkdir()
    (advice,) = re.findall(r"tracking.uri=(\S+)$", remedy_of(tmp_path / "dir.db"))
    look_at_database(advice)


@pytest.mark.parametrize("below", ["file/mlflow.db", "file/deep/mlflow.db"])
def test_a_place_where_nothing_can_be_made_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    assert f"{tmp_path}/file is no folder" in remedy_of(tmp_path / below)
    assert "cannot be made" in remedy_of(Path("/proc/mlflow.db"))


def test_what_is_new_empty_or_only_busy_is_taken_and_nothing_is_made(tmp_path: Path, place: Path) -> None:
    look_at_database(f"sqlite:///{tmp_path}/new/deep/mlflow.db")
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty.db").touch()
    look_at_database(f"sqlite:///{tmp_path}/empty.db")
    holder = sqlite3.connect(place / "mlflow.db", isolation_level=None)
    holder.execute("begin exclusive")
    look_at_database(f"sqlite:///{place}/mlflow.db")
    holder.close()


@pytest.mark.parametrize("name", STRANGE)
def test_sqlalchemy_reads_the_file_from_its_address(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / name / "mlflow.db"
    assert make_url(address_of(file)).database == str(file)
    assert file_of(address_of(file)) == file
    file.parent.mkdir()
    monkeypatch.chdir(file.parent)
    assert file_of(absolute("sqlite:///mlflow.db")) == file
    assert file_of(absolute("sqlite:///mlflow.db?timeout=5")) == file


def test_addresses_that_are_no_local_database_stay() -> None:
    for uri in ("none", "http://tracking:5000", "https://a/b", "postgresql://u@h/db", "databricks"):
        assert absolute(uri) == uri


def test_a_database_in_a_folder_of_any_name_is_there_and_no_second_folder(tmp_path: Path, empty: Path) -> None:
    folder = tmp_path / STRANGE[0]
    folder.mkdir()
    shutil.copy(empty, folder / "mlflow.db")
    MlflowTracker(SWEEP, address_of(folder / "mlflow.db"), "a test", ME).connect()
    assert [one.name for one in tmp_path.iterdir()] == [STRANGE[0]]
    client = mlflow.MlflowClient(address_of(folder / "mlflow.db"))
    assert client.get_experiment_by_name("tracked") is not None
