"""Means over runs with crossed seeds: runs share init seeds or data seeds, so they are not independent."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from scipy import stats

from orchestrator.statistics.intervals import Interval, mean_difference, spread, t_interval
from orchestrator.statistics.significance import paired_p
from orchestrator.statistics.thresholds import LEVELS

Cell = tuple[int, int]
"""The (init seed, data seed) of a run: of its start, and of the order of its rows."""
Cells = Mapping[int, Cell]
"""A run's cell by the seed that names the run; a seed that is missing here is both seeds of its run."""
AXES = (0, 1)


class MeanError(NamedTuple):
    """The standard error of a mean, and the degrees of freedom of Student's distribution that goes with it."""

    error: float
    freedom: float


def cells_of(seeds: Sequence[int], cells: Cells | None) -> list[Cell]:
    """Return each run's (init seed, data seed) by the seed that names the run."""
    return [(cells or {}).get(seed, (seed, seed)) for seed in seeds]


def are_crossed(cells: Sequence[Cell]) -> bool:
    """Return whether some runs share an init seed, or a data seed, that other runs do not have.

    If all runs share one init seed they are not crossed but independent, and their mean is about that init seed. The
    same holds for one data seed.
    """
    return any(1 < len({cell[axis] for cell in cells}) < len(cells) for axis in AXES)


def are_told_apart(cells: Sequence[Cell]) -> bool:
    """Return whether crossed runs show the variance of each of the two axes.

    They do if each axis has `LEVELS` seeds or more, and if some runs differ in the init seed alone and some in the data
    seed alone.
    """
    seen = {_differing(one, other, AXES) for one, other in combinations(cells, 2)}
    return min(_levels(cells)) >= LEVELS and {frozenset({axis}) for axis in AXES} <= seen


def mean_interval(values: Sequence[float], cells: Sequence[Cell], level: float = 0.95) -> Interval | None:
    """Return the interval of the mean; for independent runs it is `t_interval`.

    None for fewer than two values, for equal values, and for crossed runs whose axes are not told apart.
    """
    if not are_crossed(cells):
        return t_interval(values, level)
    if not (are_told_apart(cells) and spread(values)):
        return None
    (error, freedom), mean = mean_error(values, cells), statistics.fmean(values)
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    return [mean - half, mean + half]


def mean_p(differences: Sequence[float], cells: Sequence[Cell]) -> float | None:
    """Return the two-sided p of "the mean difference is 0"; for independent runs it is `paired_p`.

    None for fewer than two differences, and for crossed runs whose axes are not told apart. Differences of 0 give 1.0.
    Other equal differences have no spread to divide by, so they give the sign test. Its n is the number of seeds on the
    shorter axis, because only so many runs are independent.
    """
    if not are_crossed(cells) or not (spread(differences) or mean_difference(differences)):
        return paired_p(differences)
    if not are_told_apart(cells):
        return None
    if not spread(differences):
        return paired_p(differences[: min(_levels(cells))])
    error, freedom = mean_error(differences, cells)
    return float(2 * stats.t.sf(abs(mean_difference(differences)) / error, freedom))


def mean_error(values: Sequence[float], cells: Sequence[Cell]) -> MeanError:
    """Return the standard error of the mean of crossed runs, and its degrees of freedom after Satterthwaite.

    The axes must be told apart (`are_told_apart`).

    With variances a between starts, b between orders and e of the rest, the mean over I starts and J orders has the
    variance ``a/I + b/J + e/(I J)``. From mean squares it is ``(MS_a + MS_b - MS_e) / (I J)``, with
    ``(MS_a + MS_b - MS_e)^2 / (MS_a^2 / (I - 1) + MS_b^2 / (J - 1) + MS_e^2 / ((I - 1) (J - 1)))`` degrees of freedom
    (Satterthwaite 1946, An approximate distribution of estimates of variance components, Biometrics Bulletin 2), but
    not fewer than the shorter axis has. Here a, b and e are estimated by means over pairs of runs (Koch 1967): on a
    full grid these are the estimates from mean squares, and a grid with gaps needs no other formula. An axis whose
    variance is estimated as 0 or less is pooled with the rest, the smallest mean square first (Thompson 1962, The
    problem of negative estimates of variance components, Annals of Mathematical Statistics 33). The error is never less
    than the error of independent runs with this spread, which matters if runs are missing.
    """
    n, levels, kept = len(values), _levels(cells), list(AXES)
    while True:
        between, rest = _components(values, cells, kept)
        squares = {axis: rest + n / levels[axis] * between[axis] for axis in kept}
        smallest = min(kept, key=squares.__getitem__, default=None)
        if smallest is None or between[smallest] > 0:
            break
        kept.remove(smallest)
    variance = (sum(between[axis] * _shared(cells, axis) for axis in kept) + rest * n) / n**2
    error = math.sqrt(max(variance, statistics.variance(values) / n))
    return MeanError(error, _freedom(n, [(levels[axis], squares[axis]) for axis in kept], rest))


def _freedom(n: int, squares: Sequence[tuple[int, float]], rest: float) -> float:
    """Return Satterthwaite's degrees of freedom of ``sum of the axes' mean squares + (1 - axes) * rest``.

    ``squares`` has for each axis the number of its seeds and its mean square. Without an axis only ``rest`` is left.
    """
    left_over = max(1, n - 1 - sum(levels - 1 for levels, _ in squares))
    taken = (1 - len(squares)) * rest
    spent = sum(square**2 / (levels - 1) for levels, square in squares) + taken**2 / left_over
    fewest = min((levels for levels, _ in squares), default=n) - 1
    return min(max((sum(square for _, square in squares) + taken) ** 2 / spent, fewest), n - 1)


def _components(values: Sequence[float], cells: Sequence[Cell], axes: Sequence[int]) -> tuple[dict[int, float], float]:
    """Return unbiased estimates of the variance of each axis, which may be below 0, and of the rest."""
    squares: dict[frozenset[int], list[float]] = {}
    for (one, value), (other, another) in combinations(zip(cells, values, strict=True), 2):
        squares.setdefault(_differing(one, other, axes), []).append((value - another) ** 2 / 2)

    def half_square(differing: Collection[int]) -> float:
        """Return half the mean square between runs that differ in these axes alone.

        It estimates the sum of these axes' variances and of the rest.
        """
        return statistics.fmean(squares[frozenset(differing)])

    whole = half_square(axes)
    between = {axis: whole - half_square([other for other in axes if other != axis]) for axis in axes}
    return between, max(0.0, whole - sum(between.values()))


def _levels(cells: Sequence[Cell]) -> list[int]:
    """Return how many seeds each axis has."""
    return [len({cell[axis] for cell in cells}) for axis in AXES]


def _differing(one: Cell, other: Cell, axes: Sequence[int]) -> frozenset[int]:
    """Return the axes in which two runs have different seeds."""
    return frozenset(axis for axis in axes if one[axis] != other[axis])


def _shared(cells: Sequence[Cell], axis: int) -> int:
    """Return how many ordered pairs of runs have the same seed on the axis; a run with itself is a pair."""
    return sum(count**2 for count in Counter(cell[axis] for cell in cells).values())
