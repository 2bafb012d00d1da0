"""Reads what decides which files of the nights are stale: verdicts, the frontier, and the frontiers before it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from datetime import date
from typing import Any

from orchestrator.errors import InputError
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.frontier import read_frontier, renewed_of
from orchestrator.store.inventory import content
from orchestrator.store.nights_folder import NIGHT_JSON, NIGHTS, NightsFolder, date_of
from orchestrator.upkeep.stale_nights import NightFacts

Renewed = Mapping[str, str]
"""Label of a method -> the night that is in the keys of its runs; a method without it has its runs of before nights."""


def have_begun(files: Collection[str]) -> bool:
    """Return whether the names in a sweep's folder tell of a night."""
    return any(name.startswith(f"{NIGHTS}/") for name in files)


def night_facts(spec: SweepSpec, nights: NightsFolder, files: Collection[str], today: date) -> NightFacts:
    """Return the facts of the nights; ``files`` are the names in the sweep's folder.

    InputError if a night.json that tells a fact is damaged: then nothing of the nights is known to be stale.
    """
    verdicts = _in_rows(nights)
    for name in _over(files):
        if name not in verdicts:  # the row was not written yet, or is damaged
            verdicts[name] = str(_night_json(nights, name)["verdict"])
    frontier = {*spec.renewed.values(), *_standing(spec, nights).values()}
    return NightFacts(today, spec.nightly.keep, verdicts, frozenset(frontier))


def renewals(spec: SweepSpec, nights: NightsFolder, files: Collection[str], facts: NightFacts) -> list[Renewed]:
    """Return the frontiers whose runs stay: the present frontier, and the frontiers of the last ``runs_days`` days.

    A night goes back to an earlier frontier if its bytes come back. A frontier counts from the night that replaced it,
    so the frontier of the last night before these days stays too.
    """
    over = sorted(_over(files), reverse=True)
    recent = [name for name in over if _age(name, facts.today) <= facts.keep.runs_days]
    different: list[Renewed] = [_standing(spec, nights)]
    for name in over[: len(recent) + 1]:
        renewed = _left_by(nights, name)
        if renewed not in different:
            different.append(renewed)
    return different


def _age(night: str, today: date) -> int:
    return (today - (date_of(night) or today)).days


def _over(files: Collection[str]) -> Iterator[str]:
    """Yield the nights that have written their verdict."""
    for name in files:
        parts = name.split("/")
        if parts[0] == NIGHTS and len(parts) == 3 and parts[2] == NIGHT_JSON and date_of(parts[1]):
            yield parts[1]


def _in_rows(nights: NightsFolder) -> dict[str, str]:
    """Return the verdicts by night that the rows of nights.jsonl tell; a row that cannot be read is passed over."""
    verdicts = {}
    with suppress(FileNotFoundError):
        for line in content(nights.rows).splitlines():
            with suppress(ValueError, RecursionError, TypeError, KeyError):
                row = json.loads(line)
                verdicts[str(row["night"])] = str(row["verdict"])
    return verdicts


def _night_json(nights: NightsFolder, name: str) -> dict[str, Any]:
    file = nights.night(name).night_json
    try:
        night = json.loads(content(file))
    except (FileNotFoundError, ValueError, RecursionError):
        night = None
    if not isinstance(night, dict) or "verdict" not in night:
        raise InputError(
            f"{file} is damaged, so nothing of the nights is known to be stale. Bring it back from a copy, or delete "
            "it: the night then counts as a night that never ended."
        )
    return night


def _standing(spec: SweepSpec, nights: NightsFolder) -> dict[str, str]:
    """Return the frontier that stands now; ``spec`` may have an earlier one."""
    state = read_frontier(nights)
    return {} if state is None else renewed_of(state, spec.model_copy(update={"renewed": {}}))


def _left_by(nights: NightsFolder, name: str) -> dict[str, str]:
    """Return the frontier that a night has left; empty where all runs are of before nights."""
    frontier = _night_json(nights, name).get("frontier")
    renewed = frontier.get("renewed") if isinstance(frontier, dict) else None
    return {str(method): str(night) for method, night in (renewed or {}).items() if night}
