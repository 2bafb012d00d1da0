"""Pure: which intervals by resampling seeds are quoted: those that hold the truth about as often as they say.

From the numbers of runs that stand here on, those of 95 % held it in 93 to 97 % of simulated sweeps
(docs/statistics.md). With fewer they are too short, or too long, and there is none; means over seeds have Student's.
Runs that share seeds (`crossed`) have none either: they would be drawn as if they were independent.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.statistics.aggregates import Strata, improvement_interval, interquartile_interval, task_mean_interval
from orchestrator.statistics.bootstrap import bca_interval
from orchestrator.statistics.crossed import Cell, are_crossed
from orchestrator.statistics.intervals import Interval
from orchestrator.statistics.thresholds import FEWEST, FREEDOM, SEEDS, SEEDS_OF_PAIR, SEEDS_OF_TASK, TASKS


def mean_bootstrap(values: Sequence[float], cells: Sequence[Cell]) -> Interval | None:
    """Return the BCa interval of the mean over seeds."""
    return bca_interval(values) if len(values) >= SEEDS and not are_crossed(cells) else None


def task_mean_bootstrap(strata: Strata, cells: Sequence[Cell]) -> Interval | None:
    """Return the interval of the mean over tasks, seeds drawn again within tasks."""
    runs = [len(task) for task in strata]
    enough = min(runs, default=0) >= FEWEST and sum(runs) - len(runs) >= FREEDOM
    return task_mean_interval(strata) if enough and not are_crossed(cells) else None


def interquartile_bootstrap(strata: Strata, cells: Sequence[Cell]) -> Interval | None:
    """Return the interval of the interquartile mean of all runs, seeds drawn again within tasks."""
    enough = len(strata) >= TASKS and min(map(len, strata)) >= SEEDS_OF_TASK
    return interquartile_interval(strata) if enough and not are_crossed(cells) else None


def improvement_bootstrap(first: Strata, second: Strata, cells: Sequence[Cell]) -> Interval | None:
    """Return the interval of the probability that a run of the first beats one of the second."""
    enough = min(map(len, [*first, *second]), default=0) >= SEEDS_OF_PAIR
    return improvement_interval(first, second) if enough and not are_crossed(cells) else None
