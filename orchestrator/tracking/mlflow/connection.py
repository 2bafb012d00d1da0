"""The client with which the driver talks to MLflow, and MLflow's failures in our words."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from orchestrator.addresses import without_secrets
from orchestrator.errors import InputError, RunError
from orchestrator.recipe.environment import unchanged_environment
from orchestrator.tracking.failures import lasts, reason_of
from orchestrator.tracking.mlflow.database.sql import look_at_sql
from orchestrator.tracking.mlflow.requests import Requests

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # MLflow prints each address with its password
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # MLflow repeats creations too, which doubles runs
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")  # seconds; by default 120
os.environ.setdefault("PGCONNECT_TIMEOUT", "10")  # seconds; PostgreSQL's library by default waits as long as TCP does


def open_client(uri: str, ended: Callable[[], None]) -> Any:
    """Return an `MlflowClient` for ``uri``; the client's first request makes a local database that is new.

    ``ended`` is called after every request.
    """
    import mlflow
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # MLflow announces every migration of a new database
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # the error is raised too, and told once
    look_at_sql(uri, connect=True)
    with unchanged_environment():
        mlflow.set_tracking_uri(uri)
    return Requests(MlflowClient(tracking_uri=uri), ended)


@contextmanager
def failures_explained(uri: str) -> Iterator[None]:
    """Within: a failure that waiting does not mend becomes an InputError with the remedy, any other a RunError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # of MLflow, of a library below it, of a file system
        address, reason = without_secrets(uri), reason_of(error)
        if not lasts(error):  # a server may come back
            raise RunError(f"MLflow at {address} does not answer: {reason}") from error
        raise InputError(
            f"tracking.uri={address} cannot be used: {reason} Correct it, or train without: tracking.uri=none"
        ) from error
