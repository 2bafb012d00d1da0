"""Whether a tracker can be used is found out without changing it: nothing is created, nothing is upgraded."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.errors import InputError
from orchestrator.tracking.mlflow import connection
from orchestrator.tracking.mlflow import reach as module
from orchestrator.tracking.mlflow.database.schema import _versions, newest
from orchestrator.tracking.mlflow.reach import reach
from tests.helpers.servers import free_port, postgresql


def test_a_local_database_that_is_new_is_not_made(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert reach(uri, "sweep") == f"{uri} can be used"
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("error", "said", "remedy"),
    [
        (
            "error code 403 != 200. Response body: 'Invalid Host header",
            "refuses the host",
            "--allowed-hosts",
        ),
        ("failed with error code 401 != 200. Response body: 'You are not authenticated", "wants a user", "PASSWORD"),
        ("failed with error code 403 != 200. Response body: 'Permission denied'", "does not let", "administrator"),
    ],
)
def test_a_refusal_is_told_with_its_remedy(error: str, said: str, remedy: str) -> None:
    told = module._refusal("http://me:hunter2@mlflow:5000", error)
    assert told is not None
    assert said in told
    assert remedy in told
    assert "hunter2" not in told


@pytest.mark.parametrize("error", ["UNAUTHENTICATED: who are you?", "PERMISSION_DENIED: not yours"])
def test_a_refusal_as_json_is_one_too(error: str) -> None:
    assert module._refusal("http://mlflow:5000", error) is not None


def test_the_digits_of_a_port_are_no_refusal() -> None:
    away = "HTTPConnectionPool(host='10.0.40.3', port=5401): Max retries exceeded: Connection refused (id 403)"
    assert module._refusal("http://10.0.40.3:5401", away) is None


def test_a_deleted_experiment_is_told_as_a_sweep_would_refuse_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def get_experiment_by_name(self, name: str) -> SimpleNamespace | None:
            deleted = SimpleNamespace(name="sweep", experiment_id="7", lifecycle_stage="deleted")
            return deleted if name == "sweep" else None

    monkeypatch.setattr(connection, "open_client", lambda *_: Client())
    with pytest.raises(InputError, match=r"is deleted\. Restore it: .*mlflow experiments restore --experiment-id 7"):
        reach("http://mlflow:5000", "sweep")


@pytest.mark.slow
def test_a_server_that_is_away_is_told_with_the_command_that_starts_it() -> None:
    port = free_port()
    with pytest.raises(InputError, match=rf"does not answer.*mlflow server --host 127\.0\.0\.1 --port {port}"):
        reach(f"http://127.0.0.1:{port}", "sweep")


@pytest.mark.slow
@pytest.mark.rare
def test_the_schema_of_a_shared_database_is_compared_and_never_upgraded() -> None:
    from sqlalchemy import create_engine, inspect, text

    with postgresql() as uri:
        engine = create_engine(uri)
        assert "empty database" in reach(uri, "sweep")
        with engine.begin() as connection:
            assert not inspect(connection).get_table_names()
            connection.execute(text("create table alembic_version (version_num varchar(32))"))
            connection.execute(text("insert into alembic_version values ('')"))

        def is_at(version: str) -> None:
            with engine.begin() as connection:
                connection.execute(text("update alembic_version set version_num = :version"), {"version": version})

        is_at(newest())
        assert reach(uri, "sweep").endswith(f"has the schema of this MLflow ({newest()})")
        is_at(_versions()[1])
        with pytest.raises(InputError, match=r"nothing upgrades it silently.*mlflow db upgrade"):
            reach(uri, "sweep")
        is_at("fffffffffff0")
        with pytest.raises(InputError, match=r"of a newer MLflow, or of another program"):
            reach(uri, "sweep")
        with engine.begin() as connection:
            assert inspect(connection).get_table_names() == ["alembic_version"]
        engine.dispose()
    with pytest.raises(InputError, match=r"does not answer"):
        reach(uri, "sweep")
