"""Averages over tasks: of methods, and of how the reference compares with the others."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from orchestrator.statistics.aggregates import interquartile_mean, probability_of_improvement
from orchestrator.statistics.crossed import Cells, cells_of, mean_interval
from orchestrator.statistics.intervals import spread
from orchestrator.statistics.quotable import improvement_bootstrap, interquartile_bootstrap, task_mean_bootstrap
from orchestrator.summary.comparisons import Finished, corrected, difference
from orchestrator.summary.reference import reference_pairs
from orchestrator.summary.schema import Improvement, Macro, MacroMethod, TaskSummary
from orchestrator.summary.tie_groups import tie_groups

Scores = Mapping[str, Mapping[str, Mapping[int, Finished]]]
"""By task, method and seed, the committed runs at the chosen rates."""
Strata = list[list[float]]
"""By task, the accuracies of a method's seeds."""


def macro_averages(
    tasks: Mapping[str, TaskSummary], scores: Scores, methods: Sequence[str], reference: str | None, cells: Cells
) -> Macro:
    """Return the averages over tasks, and the reference's differences in them as a family of its own.

    Runs whose seeds are crossed are no strata to draw from: they have no stratified interval.
    """
    pairs = reference_pairs(methods, reference)
    by_seed = {method: _macro_by_seed(scores, method) for method in methods}
    strata = {method: _strata(scores, method) for method in methods}
    found = {method: _macro_method(tasks, method, by_seed[method], strata[method], cells) for method in methods}
    differences = corrected([difference(pair, by_seed[pair[0]], by_seed[pair[1]], cells) for pair in pairs])
    improvement = [_improvement(pair, strata[pair[0]], strata[pair[1]], cells) for pair in pairs]
    return {
        "methods": found,
        "differences": differences,
        "improvement": [each for each in improvement if each],
        "tie_groups": tie_groups(reference, {name: one["seed_mean"] for name, one in found.items()}, differences),
    }


def _macro_method(
    tasks: Mapping[str, TaskSummary], method: str, by_seed: Mapping[int, float], strata: Strata | None, cells: Cells
) -> MacroMethod:
    found = [task["methods"][method] for task in tasks.values() if method in task["methods"]]
    means = [each["mean"] for each in found if each["mean"] is not None and not each["stopped"]]
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
        "interval": mean_interval(averages, cells_of(list(by_seed), cells)),
        "worst": None if worst_seed is None else by_seed[worst_seed],
        "worst_seed": worst_seed,
        "diverged": sum(each["diverged"] for each in found),
        "failed": sum(each["failed"] for each in found),
        "stopped": sum(each["stopped"] for each in found),
    }


def _improvement(
    pair: tuple[str, str], first: Strata | None, second: Strata | None, cells: Cells
) -> Improvement | None:
    """Return how likely a run of the first beats one of the second; None where either lacks a task."""
    if first is None or second is None:
        return None
    return {
        "first": pair[0],
        "second": pair[1],
        "probability": probability_of_improvement(first, second),
        "interval": improvement_bootstrap(first, second, list(cells.values())),
    }


def _strata(scores: Scores, method: str) -> Strata | None:
    """Return the accuracies by task, in the order of the seeds; None where a task has no finished run."""
    found = [methods.get(method, {}) for methods in scores.values()]
    strata = [[by_seed[seed].accuracy for seed in sorted(by_seed)] for by_seed in found]
    return strata if strata and all(strata) else None


def _macro_by_seed(scores: Scores, method: str) -> dict[int, float]:
    """Return the mean over tasks for every seed that finished on all of them."""
    of_tasks = [methods.get(method, {}) for methods in scores.values()]
    seeds = sorted(set.intersection(*(set(found) for found in of_tasks)))
    return {seed: statistics.fmean(found[seed].accuracy for found in of_tasks) for seed in seeds}
