"""Open a tracker's database once with SQLAlchemy alone, because MLflow's own retries take more than a minute."""

from __future__ import annotations

from orchestrator.addresses import DATABASES, LOCAL, without_secrets
from orchestrator.errors import InputError
from orchestrator.tracking.mlflow.database.local_database import look_at_database

DRIVERS = {"postgresql": "psycopg2", "mysql": "pymysql", "mssql": "pymssql"}
PACKAGES = {"psycopg2": "psycopg2-binary"}  # of the drivers whose package has another name


def look_at_sql(address: str, connect: bool = False) -> None:
    """Refuse a local database that cannot be opened, and a database whose driver is not installed; InputError.

    With ``connect`` a database server has to answer once; if it does not, SQLAlchemy's error is raised. Addresses that
    are not of a database are passed over.
    """
    kind = address.partition(":")[0].partition("+")[0]
    if address.startswith(LOCAL):
        look_at_database(address)
    elif kind in DATABASES:
        _open(address, kind, connect)


def _open(address: str, kind: str, connect: bool) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        engine = create_engine(address)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        driver = DRIVERS[kind]
        raise InputError(
            f"tracking.uri={without_secrets(address)} cannot be used: {without_secrets(str(error))}. Name a driver "
            f"that is installed, for example {kind}+{driver}://... after pip install {PACKAGES.get(driver, driver)}"
        ) from error
    try:
        if connect:
            engine.connect().close()
    finally:
        engine.dispose()
