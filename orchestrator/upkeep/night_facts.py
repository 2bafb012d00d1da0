"""Reads what decides which files of the nights are stale: verdicts, the frontier, and the frontiers before it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from orchestrator.errors import InputError
from orchestrator.recipe.nightly_section import KeepSpec
from orchestrator.store.inventory import content
from orchestrator.store.nights_folder import NIGHTS, NightsFolder, date_of
from orchestrator.upkeep.stale_nights import NightFacts

Renewed = Mapping[str, str]
"""Label of a method -> the night whose runs the frontier has for it."""


def have_begun(files: Collection[str]) -> bool:
    """Return whether the names in a sweep's folder tell of a night."""
    return any(name.startswith(f"{NIGHTS}/") for name in files)


def night_facts(nights: NightsFolder, files: Collection[str], keep: KeepSpec, today: date) -> NightFacts:
    """Return the facts of the nights; ``files`` are the names in the sweep's folder.

    InputError if a file that tells them is damaged: then nothing of the nights is known to be stale.
    """
    verdicts = {str(row["night"]): str(row["verdict"]) for row in _rows(nights)}
    for name in _over(files):
        if name not in verdicts:  # a night that was ended before it wrote its row
            verdicts[name] = str(_verdict(nights, name)["verdict"])
    return NightFacts(today, keep, verdicts, frozenset(_frontier(nights).values()))


def renewals(nights: NightsFolder, files: Collection[str], facts: NightFacts) -> list[Renewed]:
    """Return the frontiers to which a night may go back: those of the last ``runs_days`` days, without repetition.

    A frontier counts from the night that replaced it, so the frontier of the last night before these days is among
    them. The frontier that stands comes first.
    """
    over = sorted(_over(files), reverse=True)
    recent = [name for name in over if _age(name, facts.today) <= facts.keep.runs_days]
    standing = _frontier(nights)
    of_nights = (_renewed(nights, name) for name in over[: len(recent) + 1])
    different: list[Renewed] = []
    for renewed in (standing, *of_nights):
        if renewed not in different:
            different.append(renewed)
    return different


def _age(night: str, today: date) -> int:
    return (today - (date_of(night) or today)).days


def _over(files: Collection[str]) -> Iterator[str]:
    """Yield the nights that have written their verdict."""
    for name in files:
        parts = name.split("/")
        if parts[0] == NIGHTS and len(parts) == 3 and parts[2] == "night.json" and date_of(parts[1]):
            yield parts[1]


def _rows(nights: NightsFolder) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in content(nights.rows).splitlines()]
    except FileNotFoundError:
        return []
    except (ValueError, RecursionError):
        rows = [None]
    if not all(isinstance(row, dict) and {"night", "verdict"} <= row.keys() for row in rows):
        raise _damaged(nights.rows, "bring it back from a copy, or delete it: the verdicts are in night.json too")
    return rows


def _verdict(nights: NightsFolder, name: str) -> dict[str, Any]:
    """Return night.json of a night."""
    file = nights.night(name).night_json
    verdict = _json(file)
    if not isinstance(verdict, dict) or "verdict" not in verdict:
        raise _damaged(file, "bring it back from a copy, or delete it: the night then counts as one that never ended")
    return verdict


def _renewed(nights: NightsFolder, name: str) -> Renewed:
    """Return the frontier that a night has left; empty if the night has none."""
    frontier = _verdict(nights, name).get("frontier")
    renewed = frontier.get("renewed") if isinstance(frontier, dict) else None
    return {str(method): str(night) for method, night in (renewed or {}).items() if night}


def _frontier(nights: NightsFolder) -> Renewed:
    """Return the frontier that stands: a method whose runs are older than all nights is not in it."""
    file = nights.frontier
    try:
        methods = json.loads(content(file))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):
        methods = None
    if not isinstance(methods, dict) or not all(isinstance(entry, dict) for entry in methods.values()):
        raise _damaged(file, "bring it back from a copy, or delete it: the next night then adopts the runs anew")
    return {method: str(entry["night"]) for method, entry in methods.items() if entry.get("night")}


def _json(file: Path) -> Any:
    try:
        return json.loads(content(file))
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def _damaged(file: Path, remedy: str) -> InputError:
    return InputError(f"{file} is damaged, so nothing of the nights is known to be stale: {remedy}.")
