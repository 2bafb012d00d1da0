"""Open a local database once, before anything is prepared: waiting does not mend a file that is no database."""

from __future__ import annotations

import shlex
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from orchestrator.errors import InputError
from orchestrator.tracking.failures import is_busy
from orchestrator.tracking.sqlite_address import file_of

SECONDS = 5.0  # to wait for another program that holds the database
BESIDE = "Name another file: tracking.uri=sqlite:///{}"


def look_at_database(address: str) -> None:
    """Open the database at the absolute ``address``; InputError with file and remedy where it cannot be used.

    MLflow's retries, which take most of a minute, are avoided: MLflow is loaded only for a database that has a schema.
    A file that is not there is made later by MLflow, so its folder has to be writable. A database that another program
    holds is taken as usable.
    """
    file = file_of(address)
    other = BESIDE.format("other.db")
    if file.is_dir():
        raise InputError(f"tracking.uri: {file} is a folder. {BESIDE.format(file / 'mlflow.db')}")
    if not file.exists():
        if fault := fault_of_folder(file.parent):
            raise InputError(f"tracking.uri: {file} cannot be made: {fault}. {other}")
        return
    try:
        version = _version(file)
    except sqlite3.Error as error:
        if is_busy(error):
            return
        raise InputError(f"tracking.uri: {file} cannot be opened: {error}. {other}") from error
    if version is not None:
        _check_schema(file, address, version)


def fault_of_folder(folder: Path) -> str | None:
    """Return why nothing can be written to ``folder`` (which may have to be made first); None if files can be."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        return f"{there} is no folder"
    try:
        with tempfile.TemporaryFile(dir=there):
            return None
    except OSError as error:
        return f"{there}: {error.strerror}"


def _version(file: Path) -> str | None:
    """Return the version of the schema; None without a schema; sqlite3.Error if the file cannot be read and written."""
    with closing(sqlite3.connect(file, timeout=SECONDS, isolation_level=None)) as database:
        database.execute("begin immediate")  # fails here where the file cannot be written to
        if not database.execute("select 1 from sqlite_master where name = 'alembic_version'").fetchone():
            return None
        row = database.execute("select version_num from alembic_version").fetchone()
        return str(row[0]) if row else None


def _check_schema(file: Path, address: str, version: str) -> None:
    from orchestrator.tracking.mlflow.database.schema import newest, older

    if version == newest():
        return
    if older(version):
        raise InputError(
            f"tracking.uri: {file} is of an older MLflow (schema {version}; here it is {newest()}). Copy the file, "
            f"then bring it up to date: mlflow db upgrade {shlex.quote(address)}"
        )
    raise InputError(
        f"tracking.uri: {file} is of a newer MLflow, or of another program (schema {version}; here it is {newest()}). "
        + BESIDE.format("other.db")
    )
