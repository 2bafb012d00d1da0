"""Phrases that the headline, the claims and the tracker share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.summary.schema import Difference, MacroMethod, MethodSummary, TaskSummary, Verdict, WhyUnknown
from orchestrator.wording import between, between_points, count, listed, p_value, points

NAMED = 4
"""Up to this many methods, runs or cases are named one by one; more are counted."""
STANDINGS: Mapping[Verdict | WhyUnknown, str] = {
    "ahead": "ahead of",
    "behind": "behind",
    "tie": "not distinguishable from",
    "stopped seeds": "not comparable (seeds were stopped at rungs) with",
    "few seeds": "not comparable (fewer than 2 shared seeds) with",
    "crossed seeds": "not comparable (too few seeds to tell two axes apart) with",
}
"""Where the reference stands to other methods, in the order in which a sentence says it."""


def standing(differences: Sequence[Difference]) -> list[str]:
    """Return a phrase per standing of the reference: ``ahead of lora (+2.0 points)``, ``not distinguishable from ...``.

    ``differences`` are the reference's, corrected.
    """
    groups: dict[Verdict | WhyUnknown, list[Difference]] = {word: [] for word in STANDINGS}
    for pair in differences:
        groups[pair["why_unknown"] or pair["verdict"]].append(pair)
    return [f"{STANDINGS[word]} {_named(pairs, len(differences))}" for word, pairs in groups.items() if pairs]


def _named(pairs: Sequence[Difference], others: int) -> str:
    """Name the second method of each pair with its distance; count methods instead if many were not shown to differ."""
    if len(pairs) > NAMED and pairs[0]["verdict"] in ("tie", "unknown"):
        return f"{'any of the' if len(pairs) == others else 'the remaining'} {len(pairs)} other methods"
    return listed([_measured(pair, alone=others == 1) for pair in pairs])


def _measured(pair: Difference, alone: bool) -> str:
    """Return the second method with its distance; a pair that stands alone has room for the interval and the p too."""
    if pair["verdict"] == "unknown":
        return pair["second"]
    if is_equal(pair):
        return f"{pair['second']} (equal at each of {count(pair['n'], 'seed')})"
    spread = f", 95 % interval {between_points(pair['interval'])}" if pair["interval"] else ""
    at_each = "" if pair["interval"] else f" at each of {count(pair['n'], 'seed')}"
    sure = f"{spread}, corrected p {p_value(pair['p_corrected'])}" if alone else ""
    return f"{pair['second']} ({points(pair['mean'])} points{at_each}{sure})"


def is_equal(pair: Difference) -> bool:
    """Return whether the two methods have the same accuracy at every shared seed: a tie with differences of 0 only."""
    return pair["verdict"] == "tie" and pair["sd"] == 0 and pair["mean"] == 0


def how_sure(method: MethodSummary | MacroMethod) -> str:
    """Return the interval of a mean and its seeds in words; "" for a single seed and for seeds without an interval."""
    if method["interval"]:
        return f"95 % interval {between(method['interval'])}, {count(method['n'], 'seed')}"
    return f"the same at each of {count(method['n'], 'seed')}" if method["sd"] == 0 else ""


def on_tasks(tasks: Mapping[str, TaskSummary]) -> str:
    """Return where an average holds: ``on boolq``, ``on average over 3 tasks``."""
    return f"on {next(iter(tasks))}" if len(tasks) == 1 else f"on average over {len(tasks)} tasks"


def seeds_left(method: Mapping[str, Any]) -> str:
    """Return how many seeds a mean is over and how many seeds it lacks: ``n 3, 2 lost, 1 stopped``."""
    lost, stopped = method["diverged"] + method["failed"], method["stopped"]
    return f"n {method['n']}" + (f", {lost} lost" if lost else "") + (f", {stopped} stopped" if stopped else "")
