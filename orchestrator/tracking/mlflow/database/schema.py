"""The versions of MLflow's schema that the installed MLflow knows."""

from __future__ import annotations

from functools import cache


def newest() -> str:
    """Return the version that the installed MLflow works with."""
    return _versions()[0]


def older(version: str) -> bool:
    """Tell whether the installed MLflow can bring a database of this version up to date."""
    return version in _versions()[1:]


@cache
def _versions() -> list[str]:
    """Return all versions, the newest first."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from mlflow.store import db_migrations

    config = Config()
    config.set_main_option("script_location", str(next(iter(db_migrations.__path__))).replace("%", "%%"))
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
