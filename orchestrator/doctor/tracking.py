"""Check the tracker of a recipe, or that of the environment, from the driver, which alone talks to it."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.addresses import LOCAL
from orchestrator.doctor.check import Check, guarded, ok, warn
from orchestrator.tracking.sqlite_address import absolute

REMEDY = "Correct tracking.uri, or train without: tracking.uri=none"


def tracking(uri: str, experiment: str, *, shared: bool) -> list[Check]:
    """Return whether the tracker can be used; ``shared`` is whether trainers run on a cluster."""
    return guarded("mlflow", lambda: _tracking(uri, experiment, shared), REMEDY)


def _tracking(uri: str, experiment: str, shared: bool) -> Iterator[Check]:
    if uri == "none":
        yield ok("mlflow", "tracking.uri=none: nothing is tracked")
        return
    from orchestrator.tracking.mlflow.reach import reach

    yield ok("mlflow", reach(absolute(uri), experiment))
    if uri.startswith(LOCAL) and shared:
        said = f"{uri} is a file on the driver's machine, and goes with it"
        yield warn(
            "mlflow", said, "Keep it off network file systems; a server outlives the cluster: tracking.uri=http://..."
        )
