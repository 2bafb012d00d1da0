"""MLflow as a team uses it: a server over PostgreSQL shows the same as a database file."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest

from tests.helpers.servers import mlflow_server, postgresql
from tests.helpers.tracked.tracked_checks import check_sweep


@pytest.mark.slow
@pytest.mark.rare
def test_a_second_driver_adds_nothing_to_a_finished_sweep_on_a_server_over_postgresql(tmp_path: Path) -> None:
    with postgresql() as database, mlflow_server(database, tmp_path) as address:
        check_sweep(mlflow.MlflowClient(address), tmp_path / "sweep", address, tmp_path)
