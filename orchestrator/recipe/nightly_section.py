"""The section ``nightly`` of a recipe: what a night trains anew, how often it cries wolf, whom it tells, what it keeps.

Nothing in it decides the result of a run, so nothing in it is part of a run key.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from orchestrator.recipe.frozen import Frozen
from orchestrator.recipe.sections import Positive

Days = Annotated[int, Field(ge=1)]
Event = Literal["worse", "better", "ruler_moved", "incomplete"]


class CanarySpec(Frozen):
    """The runs that every night trains anew: the first ``tasks`` and ``methods`` of the recipe, or those named here.

    ``seeds`` is how many of the recipe's seeds are trained on every night; their bytes are compared. ``fresh`` is how
    many seeds belong to one night alone; over many nights they show a small loss.
    """

    tasks: Positive | list[str] = 2
    methods: Positive | list[str] = 2
    seeds: Annotated[int, Field(ge=1)] = 2
    fresh: Annotated[int, Field(ge=0)] = 3


class TellSpec(Frozen):
    """Whom a night tells, and of which verdicts (``when``).

    The address of the webhook and the secret that signs a message are read from the environment variables that
    ``url_from`` and ``secret_from`` name. ``command`` is run in place of the webhook, with the message on its standard
    input.
    """

    when: list[Event] = ["worse", "incomplete"]  # noqa: RUF012 - pydantic copies it
    url_from: str = "NIGHTLY_WEBHOOK_URL"
    secret_from: str = "NIGHTLY_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable
    command: list[str] | None = None


class KeepSpec(Frozen):
    """For how many days a night's files are kept: its trained runs, its predictions, its page.

    ``gc`` deletes older ones, unless a baseline still needs them (docs/nightly.md).
    """

    runs_days: Days = 14
    predictions_days: Days = 90
    pages_days: Days = 730


class NightlySpec(Frozen):
    """How a sweep is rerun every night.

    ``false_alarms_per_year`` is a rate over ``nights_per_year`` nights. ``retrain_when_ruler_moves`` trains the sweep
    anew under another base or other rows; else the page gives the command. ``accepted`` are bad nights whose level is
    accepted: a new baseline begins there.
    """

    canary: CanarySpec = CanarySpec()
    false_alarms_per_year: Annotated[float, Field(gt=0, le=1)] = 0.01
    nights_per_year: Annotated[float, Field(ge=1, le=366)] = 365.0
    confirm_seeds: Annotated[int, Field(ge=2)] = 5
    retrain_when_ruler_moves: bool = False
    accepted: list[Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]] = []  # noqa: RUF012 - pydantic copies it
    tell: TellSpec = TellSpec()
    keep: KeepSpec = KeepSpec()
