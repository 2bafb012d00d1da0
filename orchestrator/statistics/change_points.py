"""Where a series of numbers changed its level: E-divisive in windows, then only the changes that are surely there.

Where: the split that maximises the energy distance between its two sides (Matteson and James 2014, A nonparametric
approach for multiple change point analysis of multivariate data, JASA 109). Whether: Student's t between the two
neighbouring stretches, as Apache Otava does it (window 50, first at ten times the level, then strictly). With the
paper's permutations short stretches cannot reach a level of 0.001 (6 and 5 values have 462 orders). The test follows a
search for the best split, so its p is too small: a mark on a page, no reason to tell people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestrator.statistics.estimate import lower_p, two_sample

WINDOW = 50
LEVEL = 0.001
WEAKER = 10
"""By how much the level of the first pass is weaker."""
SHORTEST = 2
"""The fewest values on each side of a split."""


class ChangePoint(NamedTuple):
    """A new level: the index of its first value, and the p of the step between the neighbouring stretches."""

    at: int
    p: float


def change_points(values: Sequence[float], level: float = LEVEL, window: int = WINDOW) -> list[ChangePoint]:
    """Return the change points in order. Values must be finite: leave broken nights out before."""
    series = np.asarray(values, dtype=np.float64)
    weak: list[int] = []
    begin = 0
    while True:  # windows overlap by half, and begin anew at the last change
        end = min(begin + window, len(series))
        weak.extend(begin + split for split in _splits(series[begin:end], min(0.5, level * WEAKER)))
        if end == len(series):
            break
        begin = max(begin + window // 2, max(weak, default=0))
    return _strict(series, sorted(set(weak)), level)


def energy_gain(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Q of every split into ``values[:k]`` and ``values[k:]``, at index k; -inf where a side is too short.

    ``Q = n m / (n + m) * (2 mean|x - y| - mean|x - x'| - mean|y - y'|)``, the means of one side over its pairs.
    """
    size = len(values)
    distances = np.abs(values[:, None] - values)
    corner = np.pad(distances.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    gain = np.full(size, -np.inf)
    for k in range(SHORTEST, size - SHORTEST + 1):
        left, right = corner[k, k] / 2, (corner[-1, -1] - 2 * corner[k, -1] + corner[k, k]) / 2
        n, m = k, size - k
        across = corner[k, -1] - corner[k, k]
        energy = 2 * across / (n * m) - left / math.comb(n, 2) - right / math.comb(m, 2)
        gain[k] = n * m / (n + m) * energy
    return gain


def _splits(values: NDArray[np.float64], level: float) -> list[int]:
    """Return the splits of one window, the best first, each side split again as long as its step is shown."""
    if len(values) < 2 * SHORTEST:
        return []
    best = int(energy_gain(values).argmax())
    if _step_p(values[:best], values[best:]) > level:
        return []
    return [*_splits(values[:best], level), best, *(best + split for split in _splits(values[best:], level))]


def _strict(series: NDArray[np.float64], splits: list[int], level: float) -> list[ChangePoint]:
    """Return what is left when the least sure change point is removed until all are sure."""
    while splits:
        ends = [0, *splits, len(series)]
        p_values = [
            _step_p(series[ends[i - 1] : ends[i]], series[ends[i] : ends[i + 1]]) for i in range(1, len(ends) - 1)
        ]
        worst = int(np.argmax(p_values))
        if p_values[worst] <= level:
            return [ChangePoint(index, p) for index, p in zip(splits, p_values, strict=True)]
        del splits[worst]
    return []


def _step_p(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Return the two-sided p of equal means; equal values on each side that differ between them are a sure step."""
    step = two_sample(left.tolist(), right.tolist())
    if step is None:
        return 1.0
    if step.error <= 0:
        return 0.0 if step.mean else 1.0
    return min(1.0, 2 * lower_p(-abs(step.score)))
