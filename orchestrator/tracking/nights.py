"""Show nights in the tracker that a recipe names; a tracker out of reach is said, and costs no night."""

from __future__ import annotations

from pathlib import Path

from orchestrator.recipe.spec import SweepSpec
from orchestrator.say import Say
from orchestrator.store.identity import Identity
from orchestrator.tracking.courier import Courier
from orchestrator.tracking.failures import reason_of
from orchestrator.tracking.patient import Patience
from orchestrator.tracking.sqlite_address import absolute


def show_nights(
    spec: SweepSpec,
    identity: Identity,
    command: str,
    folder: Path,
    say: Say,
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> str | None:
    """Send the nights in ``folder`` that the tracker lacks; return None, or why they were not sent. Never raises.

    No request is waited for longer than ``patience.whole`` seconds. What was not sent is sent with the next night.
    """
    if spec.tracking.uri == "none":
        return None
    problem = _send(spec, identity, command, folder, patience)
    if problem is not None:
        say(f"the nights are not in MLflow yet: {problem} The next night sends them.")
    return problem


def _send(spec: SweepSpec, identity: Identity, command: str, folder: Path, patience: Patience) -> str | None:
    try:
        from orchestrator.tracking.mlflow.nights import MlflowNights

        nights = MlflowNights(spec, absolute(spec.tracking.uri), command, identity)
    except Exception as error:  # an address that cannot be read, a library that cannot be loaded
        return reason_of(error)
    failed: list[str] = []

    def work() -> None:
        try:
            nights.send(folder)
        except Exception as error:  # whatever a server does, it must not cost a night
            failed.append(reason_of(error))

    courier = Courier(work, nights.moves)
    if not courier.wait(courier.ask(), patience.whole, patience.total):
        return f"the tracker has not answered for {patience.whole:g} s."
    return failed[0] if failed else None
