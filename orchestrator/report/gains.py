"""Pure: an adapter's gain over the untrained base, the cost of the gain, and whether merging kept the gain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.summary.schema import MethodSummary
from orchestrator.wording import count, number, points


def seconds_a_point(method: MethodSummary) -> float | None:
    """Return the training seconds of a run per point of test accuracy gained over the untrained base.

    None if nothing was gained, or if the base's accuracy, the mean or the seconds are not known.
    """
    mean, base, seconds = method["mean"], method["base_accuracy"], method["train_seconds"]
    if mean is None or base is None or seconds is None or mean <= base:
        return None
    return seconds / (100 * (mean - base))


def merge_verdict(evaluation: Mapping[str, Any]) -> str | None:
    """Return in words what merging changed, from a champion's ``evaluation.json``; None if the file lacks a figure."""
    flips, items, gap = (evaluation.get(key) for key in ("item_flips", "items", "gap_points"))
    if flips is None or items is None or gap is None:
        return None
    if flips == 0:
        return f"the merged model gives the same answer to each of {count(items, 'question')}."
    return f"merging changed {number(flips, 0)} of {count(items, 'answer')}, {points(gap / 100, 2)} points."
