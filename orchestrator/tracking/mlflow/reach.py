"""Ask a tracker whether it can be used, and change nothing: is it there, does it admit us, is its schema ours?"""

from __future__ import annotations

import re
import shlex
import urllib.request
from urllib.parse import urlsplit

from orchestrator.addresses import DATABASES, SERVERS, without_secrets
from orchestrator.errors import InputError
from orchestrator.tracking.failures import reason_of
from orchestrator.tracking.mlflow.database.sql import look_at_sql

SECONDS = 10.0
FOREIGN_HOST = "Invalid Host header"
UNKNOWN_USER = re.compile(r"\berror code 401\b|\AUNAUTHENTICATED\b")
NO_RIGHT = re.compile(r"\berror code 403\b|\APERMISSION_DENIED\b")
"""How MLflow's client begins or words a refusal. The number alone may be part of a port or of an address."""


def reach(uri: str, experiment: str) -> str:
    """Return in words what answers at ``uri``; InputError with the remedy if a sweep could not use it.

    A database is never created and never brought up to date here, because another MLflow may be using it.
    """
    if uri.startswith(SERVERS):
        return _server(uri, experiment)
    look_at_sql(uri)
    if uri.partition(":")[0].partition("+")[0] in DATABASES:
        return _shared_database(uri)
    return f"{uri} can be used"


def _server(uri: str, experiment: str) -> str:
    """Ask as a sweep will ask: with MLflow's own client, its credentials and its certificates."""
    from orchestrator.tracking.mlflow.connection import open_client
    from orchestrator.tracking.mlflow.experiment import refuse_unusable

    address = without_secrets(uri)
    try:
        client = open_client(uri, lambda: None)
        there = client.get_experiment_by_name(experiment)
    except Exception as error:  # of MLflow, of requests, of a proxy
        raise InputError(
            _refusal(uri, str(error)) or f"{address} does not answer: {reason_of(error)}. {_start(uri)}"
        ) from error
    if there:
        refuse_unusable(client, there, uri)
    version = _version_of(uri)
    said = f"MLflow {version} at {address}" if version else f"MLflow at {address}"
    return f"{said}; the experiment {experiment!r} is {'there' if there else 'new'}"


def _start(uri: str) -> str:
    """Return how to start a server at this address."""
    host, port = urlsplit(uri).hostname or "127.0.0.1", urlsplit(uri).port or 5000
    return f"Start it: mlflow server --host {host} --port {port}, or train without: tracking.uri=none"


def _refusal(uri: str, error: str) -> str | None:
    """Return what a refusal means and what to do; None if the error is no refusal."""
    address, host = without_secrets(uri), without_secrets(uri).partition("//")[2].partition("/")[0]
    if FOREIGN_HOST in error:
        return (
            f"{address} refuses the host name {host}. Start its server with --allowed-hosts {shlex.quote(host)} "
            "(the port is part of it), or name the server by a private address"
        )
    if UNKNOWN_USER.search(error):
        return (
            f"{address} wants a user and a password. Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or put "
            "them into ~/.mlflow/credentials"
        )
    if NO_RIGHT.search(error):
        return f"{address} does not let this user read the experiment. Ask its administrator for the permission EDIT"
    return None


def _version_of(uri: str) -> str | None:
    """Return the version of the server, which it tells everybody; None if it does not."""
    try:
        page = f"{without_secrets(uri).rstrip('/')}/version"  # http or https
        with urllib.request.urlopen(page, timeout=SECONDS) as answer:  # noqa: S310 # nosec B310
            text = answer.read(64).decode(errors="replace").strip()
    except (OSError, ValueError):
        return None
    return text if text[:1].isdigit() else None


def _shared_database(uri: str) -> str:
    """Compare the schema of a database server with ours."""
    from sqlalchemy import create_engine, inspect, text

    from orchestrator.tracking.mlflow.database.schema import newest, older

    address = without_secrets(uri)
    engine = create_engine(uri)
    try:
        with engine.connect() as connection:
            version = (
                connection.execute(text("select version_num from alembic_version")).scalar()
                if inspect(connection).has_table("alembic_version")
                else None
            )
    except Exception as error:
        raise InputError(
            f"{address} does not answer: {reason_of(error)}. Start the database, or train without: tracking.uri=none"
        ) from error
    finally:
        engine.dispose()
    if version is None:
        return f"{address} is an empty database, in which the first sweep makes MLflow's tables"
    if version == newest():
        return f"{address} has the schema of this MLflow ({version})"
    if older(str(version)):
        raise InputError(
            f"{address} has the schema {version} of an older MLflow; here it is {newest()}, and nothing upgrades it "
            f"silently. Stop what uses it, back it up, then: mlflow db upgrade {shlex.quote(address)}"
        )
    raise InputError(
        f"{address} has the schema {version} of a newer MLflow, or of another program; here it is {newest()}. Install "
        "the MLflow of its server, or name another database: tracking.uri=..."
    )
