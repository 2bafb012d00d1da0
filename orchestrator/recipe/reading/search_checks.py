"""Refusals of a recipe's section ``search``: an unknown kind, a key of another kind, TPE without ``trials``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.errors import InputError
from orchestrator.recipe.reading.checks import check_keys, dotted
from orchestrator.recipe.reading.located_yaml import Locations
from orchestrator.recipe.search import KINDS
from orchestrator.wording import listed


def keys_of_kind(data: dict[str, Any]) -> dict[str, Any]:
    """Return the section ``search`` without the keys of other kinds: a word ``search.kind=grid`` means a plain grid."""
    section = KINDS.get(str(data.get("kind")))
    if section is None:
        return data
    foreign = {key for other in KINDS.values() for key in other.model_fields} - set(section.model_fields)
    return {key: value for key, value in data.items() if key not in foreign}


def check_search(data: Mapping[str, Any], locations: Locations) -> None:
    """Refuse an unknown kind, an unknown key, and a key that belongs to another kind; ``data`` is the section."""
    own_keys = {kind: [key for key in section.model_fields if key != "kind"] for kind, section in KINDS.items()}
    check_keys(data, ["kind", *(key for keys in own_keys.values() for key in keys)], ("search",), locations)
    kind = data.get("kind", "grid")
    if not isinstance(kind, str) or kind not in KINDS:
        known = " or ".join([", ".join(map(repr, list(KINDS)[:-1])), repr(list(KINDS)[-1])])
        raise InputError(f"{locations.at(('search', 'kind'))}: search.kind: Input should be {known} (found {kind!r})")
    for key in data:
        if key != "kind" and key not in own_keys[kind]:
            owner = next(other for other, keys in own_keys.items() if key in keys)
            here = "a grid" if kind == "grid" else f"kind: {kind}"
            takes = f" It takes {listed(own_keys[kind])}." if own_keys[kind] else ""
            where = ("search", key)
            raise InputError(
                f"{locations.at(where)}: {dotted(where)} belongs to kind: {owner}, and this is {here}.{takes} Leave "
                f"{key} out, or write search.kind: {owner}."
            )


def check_trials(data: Mapping[str, Any], settings: int, locations: Locations) -> None:
    """Refuse a TPE search without ``trials``; ``settings``, how many a task has, is in the message."""
    if data.get("kind") == "tpe" and data.get("trials") is None:
        raise InputError(
            f"{locations.at(('search',))}: search.trials is missing: say how many of the {settings} settings "
            f"(methods x rates) to try on each task, for example {min(settings, max(8, settings // 4))}."
        )
