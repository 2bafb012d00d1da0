"""Pure: bootstrap intervals over seeds, given only where they hold the truth about as often as their level says.

From the numbers of runs in `thresholds` on, 95 % intervals held the truth in 93 to 97 % of simulated sweeps
(docs/statistics.md). With fewer runs the intervals are too short or too long, so they are None. For crossed runs they
are None too, because resampling would draw these runs as if they were independent. `cells` are the (init seed, data
seed) of the runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.statistics.aggregates import Strata, improvement_interval, interquartile_interval, task_mean_interval
from orchestrator.statistics.bootstrap import bca_interval
from orchestrator.statistics.crossed import Cell, are_crossed
from orchestrator.statistics.intervals import Interval
from orchestrator.statistics.thresholds import FEWEST, FREEDOM, SEEDS, SEEDS_OF_PAIR, SEEDS_OF_TASK, TASKS


def mean_bootstrap(values: Sequence[float], cells: Sequence[Cell]) -> Interval | None:
    """Return the BCa interval of the mean over seeds, from `SEEDS` seeds on."""
    return bca_interval(values) if len(values) >= SEEDS and not are_crossed(cells) else None


def task_mean_bootstrap(strata: Strata, cells: Sequence[Cell]) -> Interval | None:
    """Return the interval of the mean over tasks: seeds drawn again within tasks, from `FEWEST` seeds per task on."""
    runs = [len(task) for task in strata]
    enough = min(runs, default=0) >= FEWEST and sum(runs) - len(runs) >= FREEDOM
    return task_mean_interval(strata) if enough and not are_crossed(cells) else None


def interquartile_bootstrap(strata: Strata, cells: Sequence[Cell]) -> Interval | None:
    """Return the interval of the interquartile mean of all runs, from `TASKS` tasks of `SEEDS_OF_TASK` seeds on."""
    enough = len(strata) >= TASKS and min(map(len, strata)) >= SEEDS_OF_TASK
    return interquartile_interval(strata) if enough and not are_crossed(cells) else None


def improvement_bootstrap(first: Strata, second: Strata, cells: Sequence[Cell]) -> Interval | None:
    """Return the interval of the probability of improvement, from `SEEDS_OF_PAIR` seeds of both methods on."""
    enough = min(map(len, [*first, *second]), default=0) >= SEEDS_OF_PAIR
    return improvement_interval(first, second) if enough and not are_crossed(cells) else None
