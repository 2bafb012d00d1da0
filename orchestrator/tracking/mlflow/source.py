"""The tags by which MLflow's pages show who started a run, and from which code."""

from __future__ import annotations

import getpass

from orchestrator.machine.code import own_commit

COMMIT = "mlflow.source.git.commit"


def source_tags(command: str) -> dict[str, str]:
    """Return user, source and git commit of what this driver makes; ``command`` is the sweep's.

    The user is the user of this machine, as MLflow itself has it: a name for logging in to MLflow stays in the
    environment (ADR 32). Without a commit there is no tag of it.
    """
    commit = {COMMIT: commit_of(known)} if (known := own_commit()) else {}
    return {"mlflow.user": _user(), "mlflow.source.name": command, "mlflow.source.type": "LOCAL"} | commit


def commit_of(known: str) -> str:
    """Return the commit alone, without the word that files differ from it: MLflow makes a link of it."""
    return known.split(maxsplit=1)[0]


def _user() -> str:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container's user without a name
        return "unknown"
