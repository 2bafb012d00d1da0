"""The mean of a grid of paired differences, items x seeds, where both items and seeds are a sample of many.

The grid is full, so that mean squares are sums over rows and columns; for grids with gaps see `crossed`, which looks at
pairs of runs and would need the square of a thousand items.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestrator.statistics.estimate import Estimate


class MeanSquare(NamedTuple):
    """A sum of squares with its degrees of freedom."""

    squares: float
    freedom: int

    @property
    def mean(self) -> float:
        """The mean square."""
        return self.squares / self.freedom

    def pooled(self, other: MeanSquare) -> MeanSquare:
        """Return both as one."""
        return MeanSquare(self.squares + other.squares, self.freedom + other.freedom)


def grid_mean(differences_IS: NDArray[np.float64]) -> Estimate:
    """Return the mean of the grid, its standard error and Satterthwaite's degrees of freedom.

    With variances a of items, b of seeds and e of the rest, the mean over I items and S seeds has the variance
    ``a/I + b/S + e/(I S)``, which mean squares estimate as ``(MS_I + MS_S - MS_e) / (I S)`` (Montgomery, Design and
    analysis of experiments, random effects with one observation per cell). A factor whose variance is estimated as 0 or
    less is pooled with the rest, the smallest mean square first (Thompson 1962), which leaves ``MS / (I S)`` of the
    other factor, or of all values. Degrees of freedom as in `crossed.mean_error`. With one seed the items alone speak.
    ValueError for fewer than two items.
    """
    items, seeds = differences_IS.shape
    if items < 2:
        raise ValueError(f"{items} items: a grid needs two or more to show a spread.")
    mean = float(differences_IS.mean())
    rows, columns = differences_IS.mean(axis=1) - mean, differences_IS.mean(axis=0) - mean
    whole = float(((differences_IS - mean) ** 2).sum())
    if whole <= 0:  # equal differences: as many signs as items
        return Estimate(mean, 0.0, float(items - 1))
    factors = [MeanSquare(seeds * float(rows @ rows), items - 1)]
    if seeds > 1:
        factors.append(MeanSquare(items * float(columns @ columns), seeds - 1))
    left = (items - 1) * (seeds - 1)
    if not left:  # one seed: nothing tells items from the rest
        return Estimate(mean, math.sqrt(factors[0].mean / items), float(items - 1))
    rest = MeanSquare(max(0.0, whole - sum(factor.squares for factor in factors)), left)
    kept = sorted(factors, key=lambda factor: factor.mean)
    while kept and kept[0].mean <= rest.mean:
        rest = rest.pooled(kept.pop(0))
    return Estimate(mean, math.sqrt(_sum(kept, rest) / (items * seeds)), _freedom(kept, rest, items * seeds))


def _sum(kept: list[MeanSquare], rest: MeanSquare) -> float:
    return sum(factor.mean for factor in kept) + (1 - len(kept)) * rest.mean


def _freedom(kept: list[MeanSquare], rest: MeanSquare, cells: int) -> float:
    """Return Satterthwaite's degrees of freedom, not fewer than the shorter factor has, not more than all values."""
    terms = [(factor.mean, factor.freedom) for factor in kept] + [((1 - len(kept)) * rest.mean, rest.freedom)]
    spent = sum(value**2 / freedom for value, freedom in terms)
    fewest = min((factor.freedom for factor in kept), default=cells - 1)
    return float(min(max(_sum(kept, rest) ** 2 / spent, fewest), cells - 1))
