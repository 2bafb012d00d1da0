"""A new database of MLflow for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import mlflow
import pytest


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new database: making one takes seconds, copying it none."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def place(tmp_path: Path, empty: Path) -> Path:
    """A folder with an empty database."""
    shutil.copy(empty, tmp_path / "mlflow.db")
    return tmp_path
