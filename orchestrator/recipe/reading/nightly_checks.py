"""Refusals of the keys ``nightly`` and ``renewed`` of a recipe, each with its place, nearest name and remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from d2lora.names import unknown
from orchestrator.errors import InputError
from orchestrator.recipe.frozen import Frozen
from orchestrator.recipe.nightly_section import CanarySpec, NightlySpec
from orchestrator.recipe.reading.checks import brief, check_keys, dotted
from orchestrator.recipe.reading.interpolation import Key
from orchestrator.recipe.reading.located_yaml import Locations

CANARY = ("nightly", "canary")
PARTS = {"tasks": "name", "methods": "label"}
"""The lists of a recipe from which a canary takes a part, and the key by which an entry is known."""


def check_nightly_keys(section: Mapping[str, Any], locations: Locations) -> None:
    """Refuse unknown keys of the sections within the section ``nightly``, with the nearest known key."""
    for name, field in NightlySpec.model_fields.items():
        inner = field.annotation
        if name in section and isinstance(inner, type) and issubclass(inner, Frozen):
            key = ("nightly", name)
            if not isinstance(section[name], dict):
                raise InputError(
                    f"{locations.at(key)}: {dotted(key)} holds keys, not {brief(section[name])}. Write them below it."
                )
            check_keys(section[name], inner.model_fields, key, locations)


def check_canary(data: Mapping[str, Any], locations: Locations) -> None:
    """Refuse a canary that asks for tasks, methods or seeds that the recipe does not have.

    ``data`` has whole tasks and methods by now. A recipe without the section ``nightly`` is not looked at.
    """
    if "nightly" not in data:
        return
    if isinstance(data["seeds"], dict):
        raise InputError(f"{locations.at(('seeds',))}: {paired_seeds()}")
    canary = data["nightly"].get("canary", {})
    for part, name in PARTS.items():
        if part in canary:
            _check_part(canary[part], (*CANARY, part), [entry[name] for entry in data[part]], locations)
    wanted, there = canary.get("seeds"), len(data["seeds"])
    if isinstance(wanted, int) and wanted > there:
        raise InputError(
            f"{locations.at((*CANARY, 'seeds'))}: nightly.canary.seeds={wanted} is more than the {there} seeds of the "
            f"recipe: give {there} or fewer, or more seeds. Seeds of one night alone are nightly.canary.fresh."
        )


def check_renewed(data: Mapping[str, Any], locations: Locations) -> None:
    """Refuse ``renewed`` with a label that no method of the recipe has; ``data`` has whole methods by now."""
    renewed = data.get("renewed", {})
    if not isinstance(renewed, dict):
        raise InputError(
            f"{locations.at(('renewed',))}: renewed holds a night per method, not {brief(renewed)}. Write, for "
            "example, renewed: {lora: 2026-11-28}."
        )
    labels = [method["label"] for method in data["methods"]]
    for label in renewed:
        if label not in labels:
            raise InputError(f"{locations.at(('renewed', label))}: renewed: {unknown('method', label, labels)}")


def paired_seeds() -> str:
    """Return why pairs of seeds have no canary, and the remedy."""
    few = CanarySpec().seeds + 1
    return (
        "nightly compares independent seeds; pairs of two axes share them. List seeds, for example "
        f"seeds: {list(range(few))}, in a recipe of the nights' own."
    )


def _check_part(wanted: Any, key: Key, names: Sequence[str], locations: Locations) -> None:
    """Refuse names that are not in the recipe, an empty list, and a number larger than there are names."""
    kind = str(key[-1])
    if isinstance(wanted, list):
        for index, name in enumerate(wanted):
            if name not in names:
                where = locations.at((*key, index))
                raise InputError(f"{where}: {dotted(key)}: {unknown(kind.removesuffix('s'), str(name), names)}")
        if not wanted or len(set(wanted)) < len(wanted):
            raise InputError(
                f"{locations.at(key)}: {dotted(key)} is {brief(wanted)}: name one or more, each once, or give a number."
            )
    elif isinstance(wanted, int) and wanted > len(names):
        raise InputError(
            f"{locations.at(key)}: {dotted(key)}={wanted} is more than the {len(names)} {kind} of the recipe "
            f"({', '.join(names)}): give {len(names)} or fewer, or their names."
        )
