"""Which run of each task becomes the champion, and whether it has been merged already."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def choose(rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the champion's row for each task that has a committed run.

    The method with the most committed seeds at the rate chosen for it, so that none wins by a lucky few; among equals
    the best validation mean, then the recipe's order, so that the choice is stable. Then that method's best seed on
    validation. A method without a validation score loses to any with one; test accuracy has no say.
    """
    found: dict[str, dict[str, Any]] = {}
    for task, content in summary["tasks"].items():
        usable = {label: one for label, one in content["methods"].items() if one["n"]}
        if not usable:
            continue
        label = max(usable, key=lambda name: _standing(usable[name]))
        lr = usable[label]["lr"]
        cell = [row for row in rows if (row["task"], row["method"], row["lr"]) == (task, label, lr)]
        committed = [row for row in cell if row["status"] == "committed"]
        found[task] = dict(max(committed, key=lambda row: (_score(row["validation_accuracy"]), -int(row["seed"]))))
    return found


def _standing(found: Mapping[str, Any]) -> tuple[bool, int, float]:
    validation = found["validation_mean"]
    return validation is not None, found["n"], _score(validation)


def _score(value: float | None) -> float:
    return -math.inf if value is None else value
