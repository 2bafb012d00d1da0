"""The rules that ask for every run in one round: a grid, and asha, which stops runs where they train."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.search.halving import together
from orchestrator.search.standing import RunName, TaskSoFar, run_name


@dataclass(frozen=True)
class AllAtOnce:
    """A search without choice: ``next`` are all runs that have no result."""

    next: tuple[RunName, ...]

    def line(self, task: str) -> None:
        """Say nothing: there is one round, and nothing to report before its end."""

    def why_not(self, setting: str) -> str:
        """Return "": every run is trained."""
        del setting
        return ""


def grid_standing(task: TaskSoFar) -> AllAtOnce:
    """Return where a grid stands."""
    return AllAtOnce(tuple(map(run_name, task.left)))


def asha_standing(task: TaskSoFar) -> AllAtOnce:
    """Return where asha stands; rivals follow one another, so that they meet in a pack."""
    return AllAtOnce(tuple(map(run_name, together(task.left))))
