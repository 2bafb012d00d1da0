"""Which failures of a tracker pass by themselves: only those of a server that may be another minute's server."""

from __future__ import annotations

import errno
import sqlite3

import pytest
import requests
from mlflow.exceptions import MlflowException, get_error_code
from sqlalchemy.exc import ArgumentError, OperationalError

from orchestrator.errors import InputError
from orchestrator.tracking.failures import lasts, reason_of


def answered(status: int) -> MlflowException:
    return MlflowException(f"it answered {status}", error_code=get_error_code(status))


def of_sqlite(code: int) -> MlflowException:
    """Return what MLflow's store raises where SQLite reports ``code``."""
    inner = sqlite3.OperationalError("of SQLite")
    inner.sqlite_errorcode = code
    try:
        try:
            raise OperationalError("select 1", {}, inner) from inner
        except OperationalError as error:
            raise MlflowException(str(error)) from error
    except MlflowException as error:
        return error


def in_mlflow(inner: Exception) -> MlflowException:
    """Return what MLflow raises while it handles ``inner``."""
    try:
        try:
            raise inner
        except Exception as error:
            raise MlflowException(f"API request failed with exception {error}")  # noqa: B904 - as MLflow does
    except MlflowException as error:
        return error


PASSING = [ConnectionError("refused"), TimeoutError(), answered(500), answered(503), answered(429)]
PASSING += [in_mlflow(requests.exceptions.ConnectionError("no route")), of_sqlite(sqlite3.SQLITE_BUSY)]
PASSING += [OSError(errno.EHOSTUNREACH, "no route")]
LASTING = [answered(401), answered(403), answered(404), answered(400), in_mlflow(requests.exceptions.SSLError("bad"))]
LASTING += [in_mlflow(requests.exceptions.InvalidURL("bad")), ArgumentError("bad"), ImportError("no driver")]
LASTING += [of_sqlite(sqlite3.SQLITE_FULL), of_sqlite(sqlite3.SQLITE_NOTADB), OSError(errno.ENOSPC, "full")]
LASTING += [PermissionError(errno.EACCES, "no"), TypeError("ours"), KeyError("ours"), InputError("wrong")]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_a_failure_of_the_moment_passes(error: Exception) -> None:
    assert not lasts(error)


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_a_failure_that_the_same_request_meets_again_lasts(error: Exception) -> None:
    assert lasts(error)


def test_a_reason_is_one_line_without_secrets_or_the_kind_of_the_error() -> None:
    assert reason_of(ValueError("no http://ann:secret@h\nmore")) == "no http://h"
    assert reason_of(TimeoutError()) == "TimeoutError"
