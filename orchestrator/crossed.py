"""Means over runs whose seeds are crossed: some share a start, others an order of the data; none is independent."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from scipy import stats

from orchestrator.intervals import Interval, mean_difference, paired_p, spread, t_interval

Cell = tuple[int, int]
"""The seeds of a run: of its start, and of its order of the data."""
Cells = Mapping[int, Cell]
"""By the seed that names a run; one that is not there has both from that seed."""


class MeanError(NamedTuple):
    """The standard error of a mean, and the degrees of freedom of Student's distribution that goes with it."""

    error: float
    freedom: float


def cells_of(seeds: Sequence[int], cells: Cells | None) -> list[Cell]:
    """Return the cell of each run by its seed."""
    return [(cells or {}).get(seed, (seed, seed)) for seed in seeds]


def are_crossed(cells: Sequence[Cell]) -> bool:
    """Return whether some runs share a start, or an order, that others do not have.

    What all runs share is held: they are independent, and the mean is about that start, or that order.
    """
    return any(1 < len({cell[axis] for cell in cells}) < len(cells) for axis in (0, 1))


def mean_interval(values: Sequence[float], cells: Sequence[Cell], level: float = 0.95) -> Interval | None:
    """Return the interval of the mean, `t_interval` where the runs are independent.

    None for fewer than two values, and for too few to tell the axes apart.
    """
    if not are_crossed(cells) or not spread(values):
        return t_interval(values, level)
    found, mean = mean_error(values, cells), statistics.fmean(values)
    if found is None:
        return None
    half = float(stats.t.ppf((1 + level) / 2, found.freedom)) * found.error
    return [mean - half, mean + half]


def mean_p(differences: Sequence[float], cells: Sequence[Cell]) -> float | None:
    """Return the two-sided p of "the mean difference is 0", `paired_p` where runs are independent; None as above."""
    if not are_crossed(cells) or not spread(differences):
        return paired_p(differences)
    found = mean_error(differences, cells)
    if found is None:
        return None
    return float(2 * stats.t.sf(abs(mean_difference(differences)) / found.error, found.freedom))


def mean_error(values: Sequence[float], cells: Sequence[Cell]) -> MeanError | None:
    """Return the error of the mean of crossed runs, and its degrees of freedom after Satterthwaite.

    With variances a between starts, b between orders and e of the rest, the mean over I starts and J orders has the
    variance ``a/I + b/J + e/(I J)``. From mean squares it is ``(MS_a + MS_b - MS_e) / (I J)``, with
    ``(MS_a + MS_b - MS_e)^2 / (MS_a^2 / (I - 1) + MS_b^2 / (J - 1) + MS_e^2 / ((I - 1) (J - 1)))`` degrees of freedom
    (Satterthwaite 1946, An approximate distribution of estimates of variance components, Biometrics Bulletin 2). Here
    a, b and e are means over pairs of runs (Koch 1967), which are the same on a full grid and need none. The error is
    never less than that of independent runs with this spread, the degrees never less than the shorter axis has. None
    where no two runs differ in their start alone, or in their order alone.
    """
    found = _components(values, cells)
    if found is None:
        return None
    start, order, rest = found
    n, levels = len(values), [len({cell[axis] for cell in cells}) for axis in (0, 1)]
    variance = (start * _shared(cells, 0) + order * _shared(cells, 1) + rest * n) / n**2
    squares = [rest + n / levels[0] * start, rest + n / levels[1] * order, rest]
    freedoms = [levels[0] - 1, levels[1] - 1, max(1, n - sum(levels) + 1)]
    spent = sum(square**2 / freedom for square, freedom in zip(squares, freedoms, strict=True))
    freedom = (squares[0] + squares[1] - squares[2]) ** 2 / spent
    error = math.sqrt(max(variance, statistics.variance(values) / n))
    return MeanError(error, min(max(freedom, min(freedoms[:2])), n - 1))


def _components(values: Sequence[float], cells: Sequence[Cell]) -> tuple[float, float, float] | None:
    """Return the variances between starts, between orders, and of the rest, unbiased: one may be below 0.

    None where the runs do not tell them apart.
    """
    pairs = list(combinations(range(len(values)), 2))

    def half_square(start: bool, order: bool) -> float:
        """Return half the mean square between runs that differ in these axes alone; NaN where there are none."""
        found = [(values[i] - values[j]) ** 2 / 2 for i, j in pairs if _differ(cells[i], cells[j]) == (start, order)]
        return statistics.fmean(found) if found else math.nan

    starts, orders, both = half_square(True, False), half_square(False, True), half_square(True, True)
    variances = both - orders, both - starts, starts + orders - both
    return None if any(map(math.isnan, variances)) else variances


def _differ(one: Cell, other: Cell) -> tuple[bool, bool]:
    return one[0] != other[0], one[1] != other[1]


def _shared(cells: Sequence[Cell], axis: int) -> int:
    """Return how many ordered pairs of runs, each with itself too, have the same seed on the axis."""
    return sum(count**2 for count in Counter(cell[axis] for cell in cells).values())
