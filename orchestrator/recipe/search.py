"""The kinds of search that a recipe can ask for, one frozen class per kind: `Grid`, `Racing`, `Tpe` and `Asha`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from orchestrator.recipe.frozen import Frozen

Positive = Annotated[int, Field(gt=0)]


class Grid(Frozen):
    """Train every run."""

    kind: Literal["grid"] = "grid"


class Racing(Frozen):
    """Train the first seeds of every setting, then further seeds of the settings that may be the best (ADR 9).

    ``alpha`` is the chance that all races of a sweep together drop a setting as good as the best of its task.
    ``first`` is how many seeds every setting gets before any is dropped. ``resolve`` is the difference in points of
    accuracy below which settings count as equal; 0 means that no difference is too small to matter.
    """

    kind: Literal["racing"] = "racing"
    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    first: Annotated[int, Field(ge=2)] = 3
    resolve: Annotated[float, Field(ge=0, lt=100)] = 0.0


class Tpe(Frozen):
    """Train all seeds of the settings that Optuna's TPE proposes (ADR 10).

    ``trials`` settings of each task are tried, ``batch`` settings per round; ``seed`` draws the proposals.
    """

    kind: Literal["tpe"] = "tpe"
    trials: Positive
    batch: Positive = 4
    seed: Annotated[int, Field(ge=0)] = 0


class Asha(Frozen):
    """Begin every run, and at each rung let the best ``1 / factor`` of the runs go on (ADR 11).

    ``rung`` is the first rung: a whole number of optimizer steps, or a share of the run below 1. Each further rung is
    at ``factor`` times the steps of the rung before it.
    """

    kind: Literal["asha"] = "asha"
    rung: Annotated[int | float, Field(gt=0)] = 0.25
    factor: Annotated[int, Field(ge=2)] = 2

    @field_validator("rung")
    @classmethod
    def _steps_or_a_share(cls, rung: int | float) -> int | float:
        if isinstance(rung, float) and rung >= 1:
            raise ValueError(f"{rung} is no share of a run: give one below 1, or a whole number of steps.")
        return rung


def _kind(value: Any) -> Any:
    """Return the kind of a search that is still a mapping, or is one of the four classes; a grid by default."""
    return value.get("kind", "grid") if isinstance(value, dict) else getattr(value, "kind", None)


Search = Annotated[
    Annotated[Grid, Tag("grid")]
    | Annotated[Racing, Tag("racing")]
    | Annotated[Tpe, Tag("tpe")]
    | Annotated[Asha, Tag("asha")],
    Discriminator(_kind),  # an error is then reported for the kind that was meant, not for all four
]
"""The section ``search`` of a recipe."""

KINDS: Mapping[str, type[Frozen]] = {"grid": Grid, "racing": Racing, "tpe": Tpe, "asha": Asha}
