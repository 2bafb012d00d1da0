"""Pure: which settings of a recipe's grid to try next, by Optuna's TPE, given the values of the settings tried so far.

Settings are tried in batches, each with all its seeds. Before each batch a study is made in memory from the settings
tried so far, with a seed of its own, so the same recipe proposes the same settings whenever it was stopped (ADR 10).
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.recipe.search import Tpe
from orchestrator.search.proposals import History, propose, seed_of
from orchestrator.search.space import Space, space_of
from orchestrator.search.standing import Lost, RunName, Scores, TaskSoFar, worth
from orchestrator.wording import count, listed, percent


@dataclass(frozen=True)
class TpeInput:
    """The input of TPE for one task: the settings by name, their points in a space, and the seeds of their runs.

    ``trials`` settings are tried, ``batch`` settings per round. ``seed`` draws the proposals; each task has a seed of
    its own (`seed_of`).
    """

    settings: tuple[str, ...]
    space: Space
    seeds: tuple[int, ...]
    trials: int
    batch: int
    seed: int


@dataclass(frozen=True)
class TpeStanding:
    """Where a search stands: a pure function of its results.

    ``values`` are the settings of all batches that have ended, in their order, each with its mean validation accuracy
    over all seeds, or None where a run failed. ``batch`` are the settings of the batch that has not ended, none where
    the search is over. ``next`` are the runs (setting, seed) that this batch lacks. ``of`` is how many settings the
    task has.
    """

    values: Mapping[str, float | None]
    batch: tuple[str, ...]
    trials: int
    of: int
    next: tuple[RunName, ...]

    @property
    def best(self) -> tuple[str, float] | None:
        """The best setting so far and its value: the first of equals."""
        known = [(name, value) for name, value in self.values.items() if value is not None]
        return max(known, key=lambda pair: pair[1], default=None)

    def line(self, task: str) -> str | None:
        """Return how many settings are tried, which is best and which are next; None before the first batch ended."""
        if not self.values:
            return None
        line = f"search of {task}: {len(self.values)} of {self.trials} settings tried"
        line += f"; best so far {self.best[0]}, {percent(self.best[1])} on validation" if self.best else ""
        lost = [setting for setting, value in self.values.items() if value is None]
        line += f"; no value for {listed(lost)}: a run failed" if lost else ""
        return line + (f"; next {listed(self.batch)}" if self.batch else "; over")

    def why_not(self, setting: str) -> str:
        """Return why a setting that was not proposed is not trained; "" for a setting that was proposed."""
        if setting in self.values or setting in self.batch:
            return ""
        so_far = " so far" if self.batch else ""
        best = f"; the best of them is {self.best[0]}" if self.best else ""
        tried = f"TPE tried {len(self.values)} of {count(self.of, 'setting')}{best}."
        return f"Its setting was not proposed{so_far}: {tried}"


def tpe_standing(search: Tpe, task: TaskSoFar) -> TpeStanding:
    """Return where the search of a task stands; each task is a search of its own."""
    settings = task.settings
    space, seed = space_of(list(settings.values())), seed_of(search.seed, task.name)
    given = TpeInput(tuple(settings), space, task.seeds, search.trials, search.batch, seed)
    return decide(given, task.scores, task.lost)


def decide(given: TpeInput, scores: Scores, lost: Lost = ()) -> TpeStanding:
    """Return where the search stands, computed anew from its first batch on.

    Results of settings that were not proposed, for instance those of an earlier grid, change nothing. A setting with
    a failed run has no value: once its other runs have ended, the search goes on without it.
    """
    history: History = ()
    batch: tuple[int, ...] = ()
    missing: list[RunName] = []
    while len(history) < given.trials and not missing:
        amount = min(given.batch, given.trials - len(history))
        batch = propose(given.space, history, amount, given.seed)
        runs = [(given.settings[point], seed) for point in sorted(batch) for seed in given.seeds]
        missing = [run for run in runs if run not in scores and run not in lost]
        if not missing:
            history += tuple((point, _value(given, point, scores)) for point in batch)
            batch = ()
    return TpeStanding(
        values={given.settings[point]: value for point, value in history},
        batch=tuple(given.settings[point] for point in batch),
        trials=given.trials,
        of=len(given.settings),
        next=tuple(missing),
    )


def _value(given: TpeInput, point: int, scores: Scores) -> float | None:
    """Return the mean over the seeds, a diverged run counted as `worth` says; None where a run is missing."""
    runs = [(given.settings[point], seed) for seed in given.seeds]
    return statistics.fmean(worth(scores[run]) for run in runs) if all(run in scores for run in runs) else None
