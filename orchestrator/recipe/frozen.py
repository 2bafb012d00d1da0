"""The base class of a recipe's sections (frozen, checked, without unknown keys), and copies with values changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from d2lora.names import unknown
from orchestrator.errors import InputError


class Frozen(BaseModel):
    """Base of every spec: unknown keys are errors, values cannot be changed, and no text counts as a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


S = TypeVar("S", bound=Frozen)


def with_values(spec: S, values: Mapping[str, Any]) -> S:
    """Return a copy with dotted keys changed, checked like a new spec: ``with_values(run, {"optim.lr": 3e-4})``.

    InputError with the nearest key for a key that the spec does not have.
    """
    data = spec.model_dump()
    for dotted, value in values.items():
        *parents, last = dotted.split(".")
        section: Any = data
        for parent in parents:
            section = section.get(parent) if isinstance(section, dict) else None
        if not isinstance(section, dict) or last not in section:
            raise InputError(unknown("value", dotted, _dotted(spec.model_dump())))
        section[last] = value
    return type(spec).model_validate(data)


def _dotted(data: Mapping[str, Any]) -> list[str]:
    """Return the dotted names of all values in ``data``."""
    inner = {key: value for key, value in data.items() if isinstance(value, dict)}
    return [*data, *(f"{key}.{name}" for key, value in inner.items() for name in _dotted(value))]
