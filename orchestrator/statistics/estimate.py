"""A mean difference with its standard error and degrees of freedom: its score, its interval, and how several join."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from orchestrator.statistics.intervals import Interval

FARTHEST = 37.0
"""The largest score: beyond it a normal tail is 0 in double precision."""


class Estimate(NamedTuple):
    """A mean difference, its standard error, and the degrees of freedom of Student's distribution of their ratio."""

    mean: float
    error: float
    freedom: float

    @property
    def score(self) -> float:
        """The standard normal quantile of ``P(T <= mean / error)``: far below 0 if the mean is far below 0.

        Without any spread a mean of 0 scores 0. Any other mean scores as the sign test of ``freedom + 1`` equal signs,
        ``p = 2 ** -(freedom + 1)``, because equal differences support no smaller p.
        """
        if self.error > 0:
            return float(scores_of(np.array(self.mean / self.error), self.freedom))
        if self.mean == 0:
            return 0.0
        return math.copysign(float(special.ndtri(2.0 ** -min(self.freedom + 1, 1000))), self.mean)

    def interval(self, level: float = 0.95) -> Interval | None:
        """Return the two-sided interval ``[low, high]``; None without any spread, which would claim certainty."""
        if self.error <= 0:
            return None
        half = float(special.stdtrit(self.freedom, (1 + level) / 2)) * self.error
        return [self.mean - half, self.mean + half]


def scores_of(ratios: NDArray[np.float64], freedom: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard normal quantile of each Student ratio, at most `FARTHEST` from 0; ``freedom`` is above 0."""
    tails = np.maximum(special.stdtr(freedom, -np.abs(ratios)), 1e-300)
    scores: NDArray[np.float64] = np.copysign(np.minimum(-special.ndtri(tails), FARTHEST), ratios)
    return scores


def lower_p(score: float) -> float:
    """Return the one-sided p of a score against "not below 0"."""
    return float(special.ndtr(score))


def joined(estimates: Sequence[Estimate], weights: Sequence[float] | None = None) -> Estimate:
    """Return the weighted mean of independent estimates; equal weights by default.

    The degrees of freedom are Satterthwaite's: ``(sum v)^2 / sum(v^2 / freedom)`` with ``v = (weight * error)^2``, the
    weights summing to 1. Without any spread they are the fewest of all. ValueError without estimates.
    """
    if not estimates:
        raise ValueError("No estimate to join: at least one is needed.")
    shares = np.array(weights if weights is not None else [1.0] * len(estimates))
    shares = shares / shares.sum()
    variances = [(share * one.error) ** 2 for share, one in zip(shares, estimates, strict=True)]
    mean = float(sum(share * one.mean for share, one in zip(shares, estimates, strict=True)))
    total = float(sum(variances))
    if total <= 0:
        return Estimate(mean, 0.0, min(one.freedom for one in estimates))
    spent = sum(variance**2 / one.freedom for variance, one in zip(variances, estimates, strict=True))
    return Estimate(mean, math.sqrt(total), total**2 / float(spent))


def joined_score(scores: Sequence[float], sizes: Sequence[int]) -> float:
    """Return Stouffer's score of independent scores, each weighted with the root of its number of runs.

    Stouffer et al. (1949), The American Soldier: ``sum(w z) / sqrt(sum(w^2))`` is standard normal if every z is.
    """
    weights = [math.sqrt(size) for size in sizes]
    total = sum(weight * score for weight, score in zip(weights, scores, strict=True))
    return total / math.sqrt(sum(sizes))


def two_sample(first: Sequence[float], second: Sequence[float], floor: float = 0.0) -> Estimate | None:
    """Return Student's estimate of ``mean(first) - mean(second)`` with one pooled spread, at least ``floor``.

    Without a change both samples have one spread, so the test is exact for normal values however unequal their numbers
    are. None if a sample is empty or both together have fewer than three values.
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    freedom = len(one) + len(other) - 2
    if not len(one) or not len(other) or freedom < 1:
        return None
    squares = float(((one - one.mean()) ** 2).sum() + ((other - other.mean()) ** 2).sum())
    sd = max(math.sqrt(squares / freedom), floor)
    return Estimate(float(one.mean() - other.mean()), sd * math.sqrt(1 / len(one) + 1 / len(other)), float(freedom))
