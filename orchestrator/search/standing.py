"""The input and the output of every search rule: a task's results so far, and where the search of the task stands.

A rule is a file of this package with a function that takes its section of the recipe and a `TaskSoFar`, and returns a
`Standing`. A new rule is such a file, and one line in `next_runs.standing_of`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.plan.runs import PlannedRun
from orchestrator.recipe.sections import MethodSpec

Results = Mapping[str, float | None]
"""By run key: the last validation accuracy of a run that has ended, None for a diverged run. Other runs are absent."""
RunName = tuple[str, int]
"""What a run is called within its task: its setting and its seed."""
Scores = Mapping[RunName, float | None]
"""The validation accuracy (a share) of a run that has ended, None where the run diverged. Other runs are absent."""
Lost = Collection[RunName]
"""Runs that failed and cannot be had now."""
WORST = 0.0
"""What a diverged run scores: a loss against every run that answered anything, and no bonus for what others lost."""


def worth(score: float | None) -> float:
    """Return the value of a run for a search: its accuracy, or ``WORST`` if it diverged."""
    return WORST if score is None else score


class Standing(Protocol):
    """Where the search of one task stands: a pure function of the results so far."""

    @property
    def next(self) -> Sequence[RunName]:
        """The runs to train now, in their order; none where the search is over."""

    def line(self, task: str) -> str | None:
        """Return the line that the job prints after a round, or None for no line."""

    def why_not(self, setting: str) -> str:
        """Return why runs of a setting that have no result are not trained; "" where they are or may be."""


@dataclass(frozen=True)
class TaskSoFar:
    """The planned runs of one task in the recipe's order, and their results so far.

    ``seeds`` are in the recipe's order. ``tasks`` is how many tasks the sweep has, because all tasks share the error
    probability of a rule.
    """

    name: str
    runs: Sequence[PlannedRun]
    seeds: tuple[int, ...]
    tasks: int
    scores: Scores
    lost: Lost

    @property
    def settings(self) -> dict[str, tuple[MethodSpec, float]]:
        """The method and the rate of every setting by its name."""
        return {setting_of(run): (run.spec.method, run.spec.lr) for run in self.runs}

    @property
    def left(self) -> list[PlannedRun]:
        """The runs to train: those without a result that have not failed."""
        return [run for run in self.runs if (name := run_name(run)) not in self.scores and name not in self.lost]


def setting_of(run: PlannedRun) -> str:
    """Return the name of the run's setting, a method at a rate: ``lora, lr 0.001``."""
    return f"{run.spec.method.label}, lr {run.spec.lr!r}"


def run_name(run: PlannedRun) -> RunName:
    """Return the run's setting and seed, which name the run within its task."""
    return setting_of(run), run.spec.seed
