"""Our values as the entities that requests to MLflow carry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.tracking.mlflow.inputs import DataSet


def points(values: Mapping[str, float], time_ms: int, step: int = 0) -> list[Any]:
    """Return values as metrics, all at one step and time (milliseconds since 1970)."""
    from mlflow.entities import Metric

    return [Metric(name, value, time_ms, step) for name, value in values.items()]


def params(values: Mapping[str, str]) -> list[Any]:
    """Return values as parameters."""
    from mlflow.entities import Param

    return [Param(name, value) for name, value in values.items()]


def run_tags(values: Mapping[str, str]) -> list[Any]:
    """Return values as tags of a run."""
    from mlflow.entities import RunTag

    return [RunTag(name, value) for name, value in values.items()]


def data_input(data: DataSet) -> Any:
    """Return a data set as the input of a run, which trains on it, is chosen on it and is tested on it."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(data.name, data.digest, data.source_type, data.source, profile=data.profile)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "train, validation, test")])


def model_input(model_id: str) -> Any:
    """Return a model as the input of a run."""
    from mlflow.entities import LoggedModelInput

    return LoggedModelInput(model_id)
