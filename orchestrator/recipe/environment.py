"""The tracker's address in the environment: used where a recipe names none, else told where it differs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from orchestrator.addresses import without_secrets

VARIABLE = "MLFLOW_TRACKING_URI"


def address_in(environment: Mapping[str, str]) -> str | None:
    """Return the address that the environment names, if it names one."""
    return environment.get(VARIABLE, "").strip() or None


def passed_over(address: str, environment: Mapping[str, str]) -> str | None:
    """Return a line where the environment names another address than the recipe, which goes before it."""
    other = address_in(environment)
    if other is None or other == address:
        return None
    return (
        f"{VARIABLE}={without_secrets(other)} is passed over, for the recipe says "
        f"tracking.uri={without_secrets(address)}"
    )


@contextmanager
def unchanged_environment() -> Iterator[None]:
    """Within: what sets the variable; afterwards it is as before.

    MLflow writes the address that it is told into the environment, where the next sweep would take it for the user's
    and every program that is started would have its password.
    """
    before = os.environ.get(VARIABLE)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before
