"""MLflow's address and experiment in the environment: used if a recipe names none, reported if it names another."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from orchestrator.addresses import without_secrets

VARIABLE = "MLFLOW_TRACKING_URI"
EXPERIMENT = "MLFLOW_EXPERIMENT_NAME"


def address_in(environment: Mapping[str, str]) -> str | None:
    """Return the tracker's address in the environment, or None."""
    return environment.get(VARIABLE, "").strip() or None


def experiment_in(environment: Mapping[str, str]) -> str | None:
    """Return the name of MLflow's experiment in the environment, or None."""
    return environment.get(EXPERIMENT, "").strip() or None


def experiment_passed_over(experiment: str, environment: Mapping[str, str]) -> str | None:
    """Return a line if the environment names another experiment than the recipe, whose one is used; else None."""
    other = experiment_in(environment)
    if other is None or other == experiment:
        return None
    return f"{EXPERIMENT}={other} is passed over, for the recipe says tracking.experiment={experiment}"


def passed_over(address: str, environment: Mapping[str, str]) -> str | None:
    """Return a line if the environment names another address than the recipe, whose address is used; else None."""
    other = address_in(environment)
    if other is None or other == address:
        return None
    return (
        f"{VARIABLE}={without_secrets(other)} is passed over, for the recipe says "
        f"tracking.uri={without_secrets(address)}"
    )


@contextmanager
def unchanged_environment() -> Iterator[None]:
    """Restore the variable at the end of the block, whatever the block sets it to.

    MLflow writes the address that it is given into the environment. There the next sweep would take it for the user's
    own address, and every program that is started would read the password in it.
    """
    before = os.environ.get(VARIABLE)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before
