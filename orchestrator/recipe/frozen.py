"""The base class of a recipe's sections: frozen, checked, without unknown keys; and copies with some values changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from d2lora.names import unknown
from orchestrator.errors import InputError


class Frozen(BaseModel):
    """Base of every spec: unknown keys are errors, values cannot be changed, numbers are numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


S = TypeVar("S", bound=Frozen)


def with_values(spec: S, values: Mapping[str, Any]) -> S:
    """Return a copy with dotted keys changed, checked like a new one: ``with_values(run, {"optim.lr": 3e-4})``."""
    data = spec.model_dump()
    for dotted, value in values.items():
        *parents, last = dotted.split(".")
        place: Any = data
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            raise InputError(unknown("value", dotted, _dotted(spec.model_dump())))
        place[last] = value
    return type(spec).model_validate(data)


def _dotted(data: Mapping[str, Any]) -> list[str]:
    """Return the dotted names of all values in ``data``."""
    inner = {key: value for key, value in data.items() if isinstance(value, dict)}
    return [*data, *(f"{key}.{name}" for key, value in inner.items() for name in _dotted(value))]
