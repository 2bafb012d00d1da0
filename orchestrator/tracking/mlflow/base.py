"""The frozen base in MLflow: a model without files, made once in an experiment."""

from __future__ import annotations

from typing import Any

from orchestrator.tracking.mlflow.inputs import BaseModel


def base_as_model(client: Any, experiment: str, base: BaseModel | None) -> str | None:
    """Return the id of the base as a model, made if it is new; None if there is no base to name."""
    if base is None:
        return None
    there = client.search_logged_models([experiment], f"tags.fingerprint = '{base.digest}'")
    tags = {"fingerprint": base.digest, "kind": "base"}
    model = (there or [client.create_logged_model(
        experiment, base.name, tags=tags, params=base.params, model_type="base"
    )])[0]  # fmt: skip
    if str(model.status) != "READY":
        client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)
