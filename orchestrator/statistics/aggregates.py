"""Many tasks in one figure, as in "Deep RL at the edge of the statistical precipice" (arXiv 2108.13264)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.statistics.bootstrap import stratified_interval
from orchestrator.statistics.intervals import Interval

Strata = Sequence[Sequence[float]]
"""A task's accuracies, one a seed, for every task."""
TRIM = 0.25
"""The share that the interquartile mean leaves out at either end."""


def task_mean(strata: Strata) -> float:
    """Return the mean over tasks of the tasks' means over seeds."""
    return float(_task_mean(*_arrays(strata)))


def task_mean_interval(strata: Strata) -> Interval | None:
    """Return its stratified bootstrap interval; None where a task has fewer than two seeds."""
    return stratified_interval(strata, _task_mean)


def interquartile_mean(strata: Strata) -> float:
    """Return the mean of the middle half of all runs: every task's every seed, ``floor(n / 4)`` left out at each end.

    Runs count, not tasks, and in accuracy as it is: tasks of extreme difficulty are what is left out. It compares
    methods on the same tasks, and says little of a single one.
    """
    return float(_middle_mean(*_arrays(strata)))


def interquartile_interval(strata: Strata) -> Interval | None:
    """Return its stratified bootstrap interval; None where a task has fewer than two seeds."""
    return stratified_interval(strata, _middle_mean)


def probability_of_improvement(first: Strata, second: Strata) -> float:
    """Return how likely a run of ``first`` beats a run of ``second`` on a task drawn at random; a draw counts half.

    The mean over tasks of Mann and Whitney's U over the number of pairs. 0.5 says nothing; it has no size in points.
    """
    _same_tasks(first, second)
    return float(_improvement(*_arrays(first), *_arrays(second)))


def improvement_interval(first: Strata, second: Strata) -> Interval | None:
    """Return its stratified bootstrap interval, both methods' seeds drawn apart; None as above."""
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
