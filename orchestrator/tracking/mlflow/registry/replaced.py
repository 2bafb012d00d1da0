"""The champion that was replaced last, in MLflow's registry: its version has the alias ``champion-before``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.tracking.mlflow.registry.champions import version_of

BEFORE = "champion-before"


def register_before(
    client: Any, name: str, tags: Mapping[str, str], before: Path, run_id: str | None, server: bool
) -> None:
    """Put the alias `BEFORE` of the model ``name`` on the version of the champion in the directory ``before``.

    The directory of a champion that was replaced has another name than before, so its version may be a new one.
    """
    version = version_of(client, name, tags, before, run_id, server)
    if str(_aliases(client, name).get(BEFORE)) != str(version.version):
        client.set_registered_model_alias(name, BEFORE, version.version)


def forget_before(client: Any, name: str) -> None:
    """Take the alias `BEFORE` from the model ``name``, if the model has it."""
    if BEFORE in _aliases(client, name):
        client.delete_registered_model_alias(name, BEFORE)


def _aliases(client: Any, name: str) -> Mapping[str, str]:
    aliases: Mapping[str, str] = client.get_registered_model(name).aliases
    return aliases
