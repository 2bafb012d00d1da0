"""Averages over tasks: of each method, and of how the reference compares with each other method."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from orchestrator.statistics.aggregates import interquartile_mean, probability_of_improvement
from orchestrator.statistics.crossed import Cells, cells_of, mean_interval
from orchestrator.statistics.intervals import SHARES, clipped, spread
from orchestrator.statistics.quotable import improvement_bootstrap, interquartile_bootstrap, task_mean_bootstrap
from orchestrator.summary.comparisons import corrected, difference
from orchestrator.summary.differences import Runs
from orchestrator.summary.reference import reference_pairs
from orchestrator.summary.schema import Difference, Improvement, Macro, MacroMethod, TaskSummary
from orchestrator.summary.tie_groups import tie_groups

Strata = list[list[float]]
"""By task, the accuracies of a method's seeds."""


def macro_averages(
    tasks: Mapping[str, TaskSummary],
    runs: Mapping[str, Runs],
    methods: Sequence[str],
    reference: str | None,
    cells: Cells,
) -> Macro:
    """Return the averages over tasks, and the reference's differences in these averages, corrected as a family.

    ``runs`` are by task, method and seed the comparable runs at the chosen rates. Intervals that draw seeds again
    within tasks are null if seeds are crossed, because such runs are not independent.
    """
    by_seed = {method: _average_by_seed(runs, method) for method in methods}
    strata = {method: _strata(runs, method) for method in methods}
    averages = {method: _macro_method(tasks, method, by_seed[method], strata[method], cells) for method in methods}
    pairs = reference_pairs(methods, reference)
    differences = corrected([_difference(pair, by_seed, averages, cells) for pair in pairs])
    improvement = [_improvement(pair, strata[pair[0]], strata[pair[1]], cells) for pair in pairs]
    means = {method: average["seed_mean"] for method, average in averages.items()}
    return {
        "methods": averages,
        "differences": differences,
        "improvement": [known for known in improvement if known],
        "tie_groups": tie_groups(reference, means, differences),
    }


def _difference(
    names: tuple[str, str],
    by_seed: Mapping[str, Mapping[int, float]],
    averages: Mapping[str, MacroMethod],
    cells: Cells,
) -> Difference:
    stopped = any(averages[name]["stopped"] for name in names)
    return difference(names, by_seed[names[0]], by_seed[names[1]], cells, stopped=stopped)


def _macro_method(
    tasks: Mapping[str, TaskSummary], method: str, by_seed: Mapping[int, float], strata: Strata | None, cells: Cells
) -> MacroMethod:
    of_tasks = [task["methods"][method] for task in tasks.values() if method in task["methods"]]
    means = [summary["mean"] for summary in of_tasks if summary["mean"] is not None and not summary["stopped"]]
    averages, drawn = list(by_seed.values()), list(cells.values())
    worst_seed = min(by_seed, key=lambda seed: (by_seed[seed], seed), default=None)
    return {
        "tasks": len(means),
        "mean": statistics.fmean(means) if len(means) == len(tasks) else None,
        "bootstrap": task_mean_bootstrap(strata or [], drawn),
        "iqm": interquartile_mean(strata) if strata else None,
        "iqm_interval": interquartile_bootstrap(strata or [], drawn),
        "n": len(averages),
        "seed_mean": statistics.fmean(averages) if averages else None,
        "sd": spread(averages),
        "interval": clipped(mean_interval(averages, cells_of(list(by_seed), cells)), SHARES),
        "worst": None if worst_seed is None else by_seed[worst_seed],
        "worst_seed": worst_seed,
        "diverged": sum(summary["diverged"] for summary in of_tasks),
        "failed": sum(summary["failed"] for summary in of_tasks),
        "stopped": sum(summary["stopped"] for summary in of_tasks),
    }


def _improvement(
    pair: tuple[str, str], first: Strata | None, second: Strata | None, cells: Cells
) -> Improvement | None:
    """Return how likely a run of the first method beats a run of the second; None if either method lacks a task."""
    if first is None or second is None:
        return None
    return {
        "first": pair[0],
        "second": pair[1],
        "probability": probability_of_improvement(first, second),
        "interval": improvement_bootstrap(first, second, list(cells.values())),
    }


def _strata(runs: Mapping[str, Runs], method: str) -> Strata | None:
    """Return the accuracies by task, in the order of the seeds; None if a task has no comparable run."""
    of_tasks = [of_task.get(method, {}) for of_task in runs.values()]
    strata = [[by_seed[seed].accuracy for seed in sorted(by_seed)] for by_seed in of_tasks]
    return strata if strata and all(strata) else None


def _average_by_seed(runs: Mapping[str, Runs], method: str) -> dict[int, float]:
    """Return the mean over tasks for every seed that has a comparable run on each task."""
    of_tasks = [of_task.get(method, {}) for of_task in runs.values()]
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in of_tasks)))
    return {seed: statistics.fmean(by_seed[seed].accuracy for by_seed in of_tasks) for seed in seeds}
