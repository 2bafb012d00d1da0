"""Pure: the run of each task that becomes its champion, chosen by validation accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def choose(rows: Sequence[Row], summary: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the champion's row for each task that has a committed run.

    First the method is chosen: the method with the most committed seeds at its chosen rate, so that no method wins by a
    few lucky seeds. Methods with equally many seeds are compared by their validation means, then by their order in the
    recipe. A method without a validation mean loses to every method with a validation mean. Then the run of this method
    with the best validation accuracy is chosen. Test accuracy is not used.
    """
    chosen: dict[str, dict[str, Any]] = {}
    for task, content in summary["tasks"].items():
        methods = {label: method for label, method in content["methods"].items() if method["n"]}
        if not methods:
            continue
        label = max(methods, key=lambda name: _standing(methods[name]))
        setting = (task, label, methods[label]["lr"], "committed")
        committed = [row for row in rows if (row["task"], row["method"], row["lr"], row["status"]) == setting]
        chosen[task] = dict(max(committed, key=lambda row: (_score(row["validation_accuracy"]), -int(row["seed"]))))
    return chosen


def _standing(method: Mapping[str, Any]) -> tuple[bool, int, float]:
    validation = method["validation_mean"]
    return validation is not None, method["n"], _score(validation)


def _score(value: float | None) -> float:
    return -math.inf if value is None else value
