"""Phrases that the headline, the claims and the tracker share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from orchestrator.summary.schema import Difference, TaskSummary
from orchestrator.wording import between_points, listed, p_value, points

NAMED = 4
"""At most so many are named one by one."""


def _standing(differences: Sequence[Difference], lost_to_rungs: Collection[str] = ()) -> list[str]:
    """Group the other methods by where the reference stands to them."""
    words = {
        "ahead": "ahead of",
        "behind": "behind",
        "tie": "not distinguishable from",
        "stopped": "not comparable (seeds were stopped at rungs) with",
        "unknown": "not comparable (fewer than 2 shared seeds) with",
        "crossed": "not comparable (too few seeds to tell two axes apart) with",
    }
    groups: dict[str, list[Difference]] = {word: [] for word in words}
    for found in differences:
        stopped = found["first"] in lost_to_rungs or found["second"] in lost_to_rungs
        crossed = found["verdict"] == "unknown" and found["n"] > 1
        groups["stopped" if stopped else "crossed" if crossed else found["verdict"]].append(found)
    return [f"{words[word]} {_named(group, len(differences))}" for word, group in groups.items() if group]


def _named(group: Sequence[Difference], others: int) -> str:
    """Name each method and its distance; many that do not differ are only counted."""
    if len(group) > NAMED and group[0]["verdict"] in ("tie", "unknown"):
        return f"{'any of the' if len(group) == others else 'the remaining'} {len(group)} other methods"
    return listed([_measured(found, alone=others == 1) for found in group])


def _measured(found: Difference, alone: bool) -> str:
    """Return the other method and its distance; how sure it is, too, where there is only one and room for it."""
    if found["interval"] is None:
        return found["second"]
    sure = f", 95 % interval {between_points(found['interval'])}, corrected p {p_value(found['p_corrected'])}"
    return f"{found['second']} ({points(found['mean'])} points{sure if alone else ''})"


def _where(tasks: Mapping[str, TaskSummary]) -> str:
    return f"on {next(iter(tasks))}" if len(tasks) == 1 else f"on average over {len(tasks)} tasks"


def seeds_left(one: Mapping[str, Any]) -> str:
    """Return how many seeds a mean is over and what it lacks: ``n 3, 2 lost, 1 stopped``."""
    lost, stopped = one["diverged"] + one["failed"], one["stopped"]
    return f"n {one['n']}" + (f", {lost} lost" if lost else "") + (f", {stopped} stopped" if stopped else "")
