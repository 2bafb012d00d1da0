"""Sentences on the gaps that a search leaves: how many runs it spared, which methods it never tried on a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.summary.schema import ResultRow, family_of
from orchestrator.wording import count, listed

NAMED = 12
"""Up to this many methods are named one by one; more are counted."""
ADAPTIVE = (
    "The settings were chosen by validation results as they came in: what one method reached decided how often others "
    "were tried, so best-of-n curves are of the settings that TPE chose, not of the grid."
)
SELECTED = (
    "Runs were stopped at rungs, so what kept all its seeds was selected too, and leans upwards: intervals and "
    "comparisons hold only given that it survived. A grid of the rates that are left, with new seeds, confirms them."
)


def left_out(rows: Sequence[ResultRow]) -> str:
    """Return how many runs the search has not trained, and the kinds of method that it never tried on a task."""
    dropped = sum(row["status"] == "dropped" for row in rows)
    if not dropped:
        return ""
    if not _by_tpe(rows):
        return f"The race made {dropped} of {count(len(rows), 'run')} needless."
    sentence = f"TPE chose which settings to try and left out {dropped} of {count(len(rows), 'run')}."
    never = _untried(rows, kinds=True)
    return " ".join([sentence, *(f"On {task} it tried no {listed(names)}." for task, names in never.items())])


def limits_of_search(rows: Sequence[ResultRow]) -> list[str]:
    """Return the sentences that a reader needs if the search chose settings, or stopped runs, by results so far."""
    limits = [SELECTED] if any(row["status"] == "stopped" for row in rows) else []
    if not _by_tpe(rows):
        return limits
    limits.append(ADAPTIVE)
    for task, names in _untried(rows).items():
        named = f": {listed(names)}" if len(names) <= NAMED else "; their rows are empty"
        limits.append(f"TPE tried no rate of {count(len(names), 'method')} on {task}{named}.")
    return limits


def _untried(rows: Sequence[ResultRow], kinds: bool = False) -> Mapping[str, list[str]]:
    """Return by task the methods of which every run was dropped; with ``kinds`` the method names, not the labels."""
    tried: dict[str, dict[str, bool]] = {}
    for row in rows:
        name = family_of(row) if kinds else str(row["method"])
        of_task = tried.setdefault(str(row["task"]), {})
        of_task[name] = of_task.get(name, False) or row["status"] != "dropped"
    never = {task: [name for name, once in of_task.items() if not once] for task, of_task in tried.items()}
    return {task: names for task, names in never.items() if names}


def _by_tpe(rows: Sequence[ResultRow]) -> bool:
    return any(row["status"] == "dropped" and row.get("search") == "tpe" for row in rows)
