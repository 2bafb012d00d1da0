"""Which settings of a recipe's grid to try next, by Optuna's TPE: a function of what those before them have reached.

Settings are tried in batches, each with all its seeds. Before each batch a study is made in memory from the settings
tried so far, with a seed of its own, so the same recipe proposes the same settings whenever it was stopped (ADR 10).
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.search.proposals import History, propose
from orchestrator.search.space import Space
from orchestrator.search.standing import Lost, Scores, worth


@dataclass(frozen=True)
class Search:
    """The settings of a task by name, where they lie, and the seeds; ``trials`` of them are tried, ``batch`` at a time.

    ``seed`` draws the proposals; tasks have seeds of their own (``seed_of``).
    """

    settings: tuple[str, ...]
    space: Space
    seeds: tuple[int, ...]
    trials: int
    batch: int
    seed: int


@dataclass(frozen=True)
class Tried:
    """Where a search stands: a pure function of its results.

    ``values`` are the settings of all batches that have ended, in their order: the mean validation accuracy over all
    seeds, None where a run failed. ``batch`` are the settings of the one that has not ended (none where the search is
    over), ``next`` the runs that it lacks, ``of`` how many settings there are.
    """

    values: Mapping[str, float | None]
    batch: tuple[str, ...]
    trials: int
    of: int
    next: tuple[tuple[str, int], ...]

    @property
    def best(self) -> tuple[str, float] | None:
        """The best setting so far and its value: the first of equals."""
        known = [(name, value) for name, value in self.values.items() if value is not None]
        return max(known, key=lambda one: one[1], default=None)


def decide(search: Search, scores: Scores, lost: Lost = ()) -> Tried:
    """Return where the search stands, gone through again from its first batch.

    Results of settings that were not proposed, of an earlier grid for instance, change nothing. A setting of which a
    run is ``lost`` has no value: the search goes on without it once its other runs are in.
    """
    history: History = ()
    batch: tuple[int, ...] = ()
    missing: list[tuple[str, int]] = []
    while len(history) < search.trials and not missing:
        amount = min(search.batch, search.trials - len(history))
        batch = propose(search.space, history, amount, search.seed)
        runs = [(search.settings[point], seed) for point in batch for seed in search.seeds]
        missing = [run for run in runs if run not in scores and run not in lost]
        if not missing:
            history += tuple((point, _value(search, point, scores)) for point in batch)
            batch = ()
    return Tried(
        values={search.settings[point]: value for point, value in history},
        batch=tuple(search.settings[point] for point in batch),
        trials=search.trials,
        of=len(search.settings),
        next=tuple(missing),
    )


def _value(search: Search, point: int, scores: Scores) -> float | None:
    """Return the mean over the seeds, a diverged run counted as racing counts it; None where a run is not there."""
    runs = [(search.settings[point], seed) for seed in search.seeds]
    return statistics.fmean(worth(scores[run]) for run in runs) if all(run in scores for run in runs) else None
