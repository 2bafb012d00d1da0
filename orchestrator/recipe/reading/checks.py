"""Refusals of keys and values in a recipe, each with its location in the file and the nearest valid name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from d2lora.names import unknown
from orchestrator.errors import InputError
from orchestrator.recipe.reading.interpolation import Key
from orchestrator.recipe.reading.located_yaml import Locations
from orchestrator.recipe.search import KINDS

MAX_SHOWN = 200
UNION_BRANCHES = ("axes", "int", "float", "str", "none", *KINDS)


def check_keys(data: Mapping[str, Any], known: Iterable[str], prefix: Key, locations: Locations) -> None:
    """Refuse a key of the section at ``prefix`` that is not ``known``, here rather than in pydantic, which names none.

    InputError with the location of the key and the nearest known key.
    """
    names = [dotted((*prefix, name)) for name in known]
    for key in data:
        if dotted((*prefix, key)) not in names:
            raise InputError(f"{locations.at((*prefix, key))}: {unknown('key', dotted((*prefix, key)), names)}")


def check_word(value: Any, key: Key, known: Sequence[str], locations: Locations) -> None:
    """Refuse a ``value`` of ``key`` that is not a ``known`` word, here rather than in pydantic, to name the nearest."""
    if value not in known:
        raise InputError(f"{locations.at(key)}: {unknown(str(key[-1]), str(value), known)}")


def brief(value: Any) -> str:
    """Return a value as Python writes it, cut where it gets long: a message is read on a screen."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}... ({len(text):,} characters)"


def dotted(key: Key) -> str:
    """Return a path of keys as a recipe's user writes it: ``search.trials``."""
    return ".".join(map(str, key))


def error_lines(error: ValidationError, locations: Locations, prefix: Key, subject: str) -> list[str]:
    """Return one line per error: location, ``subject``, key below ``prefix``, what is wrong, the value in the recipe.

    ``subject`` is whose key it is, for example ``method lora``; it is empty for keys of the recipe itself.
    """
    lines: list[str] = []
    for detail in error.errors():
        below = tuple(part for part in detail["loc"] if not (isinstance(part, str) and _is_branch(part)))
        named = " ".join(word for word in (subject, dotted(below)) if word)
        message = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "missing":
            message += f": write `{detail['loc'][-1]}: ...`"
        value = "" if detail["type"] in ("value_error", "missing") else f" (found {brief(detail['input'])})"
        line = f"{locations.at((*prefix, *below))}: {named + ': ' if named else ''}{message}{value}"
        if line not in lines:
            lines.append(line)
    return lines


def _is_branch(part: str) -> bool:
    """Tell whether pydantic put this word into a location for the branch of a union, not for a key of the recipe."""
    return part.startswith(("constrained-", "list[", "literal[", "function-")) or part in UNION_BRANCHES
