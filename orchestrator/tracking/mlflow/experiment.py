"""The MLflow experiment of a sweep, created or refused, and its runs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from orchestrator.addresses import LOCAL, without_secrets
from orchestrator.errors import InputError
from orchestrator.recipe.environment import VARIABLE
from orchestrator.tracking.mlflow.database.local_database import fault_of_folder
from orchestrator.tracking.sqlite_address import file_of

ACTIVE = "active"


def usable_experiment(client: Any, name: str, address: str) -> str:
    """Return the id of the experiment, created if it is new.

    InputError if the experiment is deleted, or if nothing can be written where its artefacts would lie.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return _created(client, name, address)
    refuse_unusable(client, experiment, address)
    return str(experiment.experiment_id)


def refuse_unusable(client: Any, experiment: Any, address: str) -> None:
    """Raise InputError if the experiment is deleted, or if nothing can be written where its artefacts would lie."""
    name = experiment.name
    if experiment.lifecycle_stage != ACTIVE:
        restore = ["mlflow", "experiments", "restore", "--experiment-id", experiment.experiment_id]
        at = f"{VARIABLE}={shlex.quote(without_secrets(address))}"
        raise InputError(
            f"MLflow's experiment {name!r} is deleted. Restore it: {at} {shlex.join(restore)}\n"
            f"Or name another: {_another(client, name)}"
        )
    if fault := _fault_of_root(experiment.artifact_location):
        raise InputError(
            f"The files of MLflow's experiment {name!r} would be at {without_secrets(experiment.artifact_location)}, "
            f"where nothing can be written: {fault}. Name another experiment: {_another(client, name)}"
        )


def runs_of(client: Any, experiment: str, query: str) -> Iterator[Any]:
    """Yield the experiment's runs that the query matches; MLflow is asked page after page."""
    token = None
    while True:
        page = client.search_runs([experiment], query, max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _created(client: Any, name: str, address: str) -> str:
    """Create the experiment; with a local database, the artefacts lie in a folder beside the database."""
    place = (file_of(address).resolve().parent / "mlartifacts").as_uri() if address.startswith(LOCAL) else None
    tags = {"mlflow.experimentKind": "custom_model_development"}  # of runs, not of traces (docs/mlflow.md)
    return str(client.create_experiment(name, artifact_location=place, tags=tags))


def _another(client: Any, name: str) -> str:
    """Return the ``key=value`` word that names an experiment which does not exist yet."""
    free = next(other for number in count(2) if not client.get_experiment_by_name(other := f"{name}-{number}"))
    return shlex.quote(f"tracking.experiment={free}")


def _fault_of_root(root: str) -> str | None:
    """Return why a local folder of artefacts cannot be written to.

    None if it can be written to, and for a root that is no local folder, because only its server knows.
    """
    parts = urlparse(root)
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        return None
    return fault_of_folder(Path(url2pathname(parts.path)).absolute())
