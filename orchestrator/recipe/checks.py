"""Refusals of keys and values, each with its place in the file and the nearest valid name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from d2lora.names import unknown
from orchestrator.errors import InputError
from orchestrator.recipe.interpolation import Key
from orchestrator.recipe.located_yaml import Places
from orchestrator.recipe.spec import SweepSpec

WORDS = {name: get_args(SweepSpec.model_fields[name].annotation) for name in ("controls", "budget")}


def _check_level(data: Mapping[str, Any], kind: type[BaseModel], prefix: Key, places: Places) -> None:
    for key in data:
        if key not in kind.model_fields:
            known = [_dotted((*prefix, name)) for name in kind.model_fields]
            raise InputError(f"{places.at((*prefix, key))}: {unknown('key', _dotted((*prefix, key)), known)}")


def _dotted(key: Key) -> str:
    return ".".join(map(str, key))


def _check_word(value: Any, key: Key, places: Places) -> None:
    """Refuse a word that a key of ``WORDS`` does not know, here rather than in pydantic, to name the nearest."""
    name = str(key[-1])
    if value not in WORDS[name]:
        raise InputError(f"{places.at(key)}: {unknown(name, str(value), WORDS[name])}")


def _lines(error: ValidationError, places: Places, prefix: Key, what: str) -> list[str]:
    """Return one line an error: place, key below ``prefix``, what is wrong, what was found."""
    lines: list[str] = []
    for one in error.errors():
        location = tuple(part for part in one["loc"] if not (isinstance(part, str) and _is_branch(part)))
        where, key = places.at((*prefix, *location)), _dotted(location)
        message = one["msg"].removeprefix("Value error, ")
        subject = " ".join(word for word in (what, key) if word)
        found = "" if one["type"] in ("value_error", "missing") else f" (found {one['input']!r})"
        line = f"{where}: {subject + ': ' if subject else ''}{message}{found}"
        if line not in lines:
            lines.append(line)
    return lines


def _is_branch(part: str) -> bool:
    """Tell whether pydantic put this word into the location for the branch of a union, not for a key."""
    return part.startswith(("constrained-", "list[", "literal[", "function-")) or part in (
        "axes",
        "int",
        "float",
        "str",
        "none",
    )
