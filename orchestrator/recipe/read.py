"""Read a recipe file and ``key=value`` words into a SweepSpec; every error names file, line, key and nearest name."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator.errors import InputError
from orchestrator.recipe.deepspeed import read_deepspeed
from orchestrator.recipe.environment import EXPERIMENT, VARIABLE, address_in, experiment_in
from orchestrator.recipe.frozen import Frozen
from orchestrator.recipe.reading.checks import brief, check_keys, check_word, error_lines
from orchestrator.recipe.reading.entries import resolve_entries
from orchestrator.recipe.reading.interpolation import unfilled
from orchestrator.recipe.reading.located_yaml import Location, Locations, load_yaml, parse_word
from orchestrator.recipe.reading.nightly_checks import check_canary, check_nightly_keys, check_renewed
from orchestrator.recipe.reading.search_checks import check_search, check_trials, keys_of_kind
from orchestrator.recipe.spec import WORDS, SweepSpec


def read_recipe(path: Path, words: Sequence[str] = ()) -> SweepSpec:
    """Return the sweep that the recipe at ``path`` describes, changed by ``words`` such as ``optim.lr=1e-4``.

    InputError where the recipe or a word is wrong; it names file and line, key, and the nearest valid name.
    """
    if not os.path.isfile(path):  # unlike Path.is_file, false for a name that no file can have
        near = sorted(other.name for other in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise InputError(
            f"There is no recipe {path}." + (f" Beside it: {', '.join(near)}." if near else " Give its path.")
        )
    data, locations = load_yaml(path)
    for word in words:
        _override(data, locations, word)
    if unfilled_values := [f"{locations.at(key)}: {line}" for key, line in unfilled(data)]:  # a word may have mended it
        raise InputError("\n".join(unfilled_values))
    _check_sections(data, locations)
    _from_environment(data, locations)
    _read_deepspeed(data, locations)
    resolve_entries(data, locations)
    check_trials(data.get("search", {}), _settings(data), locations)
    check_canary(data, locations)
    check_renewed(data, locations)
    return _validated(data, locations)


def _override(data: dict[str, Any], locations: Locations, word: str) -> None:
    """Put one ``dotted.key=value`` into the data; its location becomes the word itself."""
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
        raise InputError(f"argument {word!r}: {'.'.join(parts[:-1])} holds no keys. Leave out what follows it.")
    node[parts[-1]] = parse_word(text, word)
    if parts == ["search", "kind"]:  # the other keys of the section are those of the kind that the file has
        data["search"] = keys_of_kind(node)
    shown = f"{key}=..." if parts[:2] == ["cluster", "env"] else word  # it may hold a secret, which is refused
    locations.set(tuple(parts[: new or len(parts)]), Location(f"argument {shown!r}"))


def _from_environment(data: dict[str, Any], locations: Locations) -> None:
    """Take the tracker's address and experiment from the environment if the recipe names none."""
    for key, variable, value in (
        ("uri", VARIABLE, address_in(os.environ)),
        ("experiment", EXPERIMENT, experiment_in(os.environ)),
    ):
        if value and key not in data.get("tracking", {}):
            data["tracking"] = {**data.get("tracking", {}), key: value}
            locations.set(("tracking", key), Location(f"environment variable {variable}"))


def _read_deepspeed(data: dict[str, Any], locations: Locations) -> None:
    """Put the content of the JSON file that ``engine.deepspeed`` names in the place of its path."""
    value = data.get("engine", {}).get("deepspeed")
    if value is not None:
        content = read_deepspeed(value, str(locations.at(("engine", "deepspeed"))))
        data["engine"] = {**data["engine"], "deepspeed": content}


def _check_sections(data: Mapping[str, Any], locations: Locations) -> None:
    """Refuse unknown keys of the recipe and of its sections, and unknown words, each with the nearest known one."""
    check_keys(data, SweepSpec.model_fields, (), locations)
    for name, words in WORDS.items():
        if name in data:
            check_word(data[name], (name,), words, locations)
    for name, field in SweepSpec.model_fields.items():
        section = field.annotation
        if name in data and isinstance(section, type) and issubclass(section, Frozen):
            _check_mapping(data, name, locations)
            check_keys(data[name], section.model_fields, (name,), locations)
    if "nightly" in data:
        check_nightly_keys(data["nightly"], locations)
    if "search" in data:
        _check_mapping(data, "search", locations)
        check_search(data["search"], locations)


def _check_mapping(data: Mapping[str, Any], name: str, locations: Locations) -> None:
    if not isinstance(data[name], dict):
        raise InputError(f"{locations.at((name,))}: {name} holds keys, not {brief(data[name])}. Write them below it.")


def _settings(data: Mapping[str, Any]) -> int:
    """Return how many settings (methods x rates) a task has; ``data`` has every method of every grid by now."""
    rates = data.get("optim", {}).get("lr")
    return len(data["methods"]) * (len(rates) if isinstance(rates, list) else 1)


def _validated(data: dict[str, Any], locations: Locations) -> SweepSpec:
    try:
        return SweepSpec.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise InputError("\n".join(error_lines(error, locations, (), ""))) from None
