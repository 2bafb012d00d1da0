"""The base in MLflow: a logged model without files, made once per experiment."""

from __future__ import annotations

from typing import Any

from orchestrator.tracking.mlflow.inputs import BaseModel


def base_as_model(client: Any, experiment: str, base: BaseModel | None) -> str | None:
    """Return the id of the base as a logged model, made if it is new; None where ``sweep.json`` names no base."""
    if base is None:
        return None
    models = client.search_logged_models([experiment], f"tags.fingerprint = '{base.digest}'")
    tags = {"fingerprint": base.digest, "kind": "base"}
    model = (models or [client.create_logged_model(
        experiment, base.name, tags=tags, params=base.params, model_type="base"
    )])[0]  # fmt: skip
    if str(model.status) != "READY":
        client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)
