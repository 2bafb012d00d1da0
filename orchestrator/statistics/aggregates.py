"""Figures over many tasks, as in "Deep RL at the edge of the statistical precipice" (arXiv 2108.13264)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.statistics.bootstrap import stratified_interval
from orchestrator.statistics.intervals import Interval

Strata = Sequence[Sequence[float]]
"""For every task the accuracies of one method, one accuracy per seed."""
TRIM = 0.25
"""The share of runs that the interquartile mean leaves out at each end."""


def task_mean(strata: Strata) -> float:
    """Return the mean over tasks of the tasks' means over seeds."""
    return float(_task_mean(*_arrays(strata)))


def task_mean_interval(strata: Strata) -> Interval | None:
    """Return the stratified bootstrap interval of the task mean; None as in `stratified_interval`."""
    return stratified_interval(strata, _task_mean)


def interquartile_mean(strata: Strata) -> float:
    """Return the mean of the middle half of the n runs of all tasks: ``floor(n / 4)`` are left out at each end.

    Runs are ranked by plain accuracy, not normalised per task, so the runs left out are mostly runs of very easy and
    very hard tasks. The figure compares methods on the same tasks; it says little of a single method.
    """
    return float(_middle_mean(*_arrays(strata)))


def interquartile_interval(strata: Strata) -> Interval | None:
    """Return the stratified bootstrap interval of the interquartile mean; None as in `stratified_interval`."""
    return stratified_interval(strata, _middle_mean)


def probability_of_improvement(first: Strata, second: Strata) -> float:
    """Return how likely a run of ``first`` beats a run of ``second`` on a task drawn at random; equality counts half.

    The figure is the mean over tasks of Mann and Whitney's U over the number of pairs of runs: 0.5 favours neither
    method. It does not say by how many points a method is better. ValueError if the numbers of tasks differ.
    """
    _same_tasks(first, second)
    return float(_improvement(*_arrays(first), *_arrays(second)))


def improvement_interval(first: Strata, second: Strata) -> Interval | None:
    """Return the stratified bootstrap interval of the probability of improvement; None as in `stratified_interval`.

    The seeds of both methods are drawn independently. ValueError if the numbers of tasks differ.
    """
    _same_tasks(first, second)
    return stratified_interval([*first, *second], _improvement)


def _arrays(strata: Strata) -> list[NDArray[np.float64]]:
    return [np.asarray(values, dtype=np.float64) for values in strata]


def _task_mean(*tasks: NDArray[Any], axis: int = -1) -> Any:
    return np.mean([values.mean(axis=axis) for values in tasks], axis=0)


def _middle_mean(*tasks: NDArray[Any], axis: int = -1) -> Any:
    runs = np.concatenate(tasks, axis=axis)
    out = int(TRIM * runs.shape[axis])
    runs = np.partition(runs, (out, runs.shape[axis] - out - 1), axis=axis)
    return runs[..., out : runs.shape[axis] - out].mean(axis=axis)


def _improvement(*both: NDArray[Any], axis: int = -1) -> Any:  # noqa: ARG001 - scipy passes it: it is the last
    tasks = len(both) // 2
    shares = []
    for a, b in zip(both[:tasks], both[tasks:], strict=True):
        first, second = a[..., :, None], b[..., None, :]
        ahead = np.count_nonzero(first > second, axis=(-2, -1)) + np.count_nonzero(first >= second, axis=(-2, -1))
        shares.append(ahead / (2 * a.shape[-1] * b.shape[-1]))
    return np.mean(shares, axis=0)


def _same_tasks(first: Strata, second: Strata) -> None:
    if len(first) != len(second):
        raise ValueError(f"{len(first)} tasks against {len(second)}: both methods need the same tasks, in one order.")
