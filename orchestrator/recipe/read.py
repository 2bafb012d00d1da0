"""A recipe file and ``key=value`` words into a SweepSpec; every error names file, line, key and the nearest name."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator.errors import InputError
from orchestrator.recipe.checks import WORDS, _check_level, _check_word, _lines
from orchestrator.recipe.entries import _resolve
from orchestrator.recipe.environment import VARIABLE, address_in
from orchestrator.recipe.frozen import Frozen
from orchestrator.recipe.interpolation import unfilled
from orchestrator.recipe.located_yaml import Place, Places, load_yaml, parse_word
from orchestrator.recipe.spec import SweepSpec


def read_recipe(path: Path, words: Sequence[str] = ()) -> SweepSpec:
    """Return the sweep that ``path`` with the overrides ``words`` describes; InputError if there is none."""
    if not os.path.isfile(path):  # unlike Path.is_file, false for a name that no file can have
        near = sorted(other.name for other in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise InputError(f"There is no recipe {path}." + (f" Beside it: {', '.join(near)}." if near else ""))
    data, places = load_yaml(path)
    for word in words:
        _override(data, places, word)
    if open_ends := [f"{places.at(key)}: {told}" for key, told in unfilled(data)]:  # behind the words: they may mend it
        raise InputError("\n".join(open_ends))
    _check_keys(data, places)
    _from_environment(data, places)
    _resolve(data, places)
    return _validated(data, places)


def _override(data: dict[str, Any], places: Places, word: str) -> None:
    """Put one ``dotted.key=value`` into the data; its place becomes the word itself."""
    key, equals, text = word.partition("=")
    if not equals or not key:
        raise InputError(f"{word!r} is not key=value, for example optim.lr=1e-4 or seeds='[0,1]'.")
    parts = key.strip().split(".")
    node: Any = data
    new = 0
    for depth, part in enumerate(parts[:-1], start=1):
        if isinstance(node, dict) and part not in node:
            new = new or depth
        node = node.setdefault(part, {}) if isinstance(node, dict) else None
    if not isinstance(node, dict):
        raise InputError(f"argument {word!r}: {'.'.join(parts[:-1])} holds no keys.")
    node[parts[-1]] = parse_word(text, word)
    places.set(tuple(parts[: new or len(parts)]), Place(f"argument {word!r}"))


def _from_environment(data: dict[str, Any], places: Places) -> None:
    """Take the tracker's address from the environment where the recipe does not say it."""
    address = address_in(os.environ)
    if address and "uri" not in data.get("tracking", {}):
        data["tracking"] = {**data.get("tracking", {}), "uri": address}
        places.set(("tracking", "uri"), Place(f"environment variable {VARIABLE}"))


def _check_keys(data: Mapping[str, Any], places: Places) -> None:
    """Refuse unknown keys, here rather than in pydantic, to name the nearest."""
    _check_level(data, SweepSpec, (), places)
    for name in WORDS:
        if name in data:
            _check_word(data[name], (name,), places)
    for name, field in SweepSpec.model_fields.items():
        kind = field.annotation
        if name in data and isinstance(kind, type) and issubclass(kind, Frozen):
            if not isinstance(data[name], dict):
                raise InputError(f"{places.at((name,))}: {name} holds keys, not {data[name]!r}.")
            _check_level(data[name], kind, (name,), places)


def _validated(data: dict[str, Any], places: Places) -> SweepSpec:
    try:
        return SweepSpec.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise InputError("\n".join(_lines(error, places, (), ""))) from None
