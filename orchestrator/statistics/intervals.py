"""Intervals, tests and power: the distributions behind every claim."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy import stats

from orchestrator.statistics.thresholds import ROUNDING

Interval = list[float]


def spread(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation (ddof 1), exactly 0 for equal values; None for fewer than two."""
    if len(values) < 2:
        return None
    sd = statistics.stdev(values)
    return 0.0 if sd <= ROUNDING else sd


def mean_difference(differences: Sequence[float]) -> float:
    """Return the mean of one or more paired differences, exactly 0 where only their rounding is left of it."""
    mean = statistics.fmean(differences)
    return 0.0 if abs(mean) <= ROUNDING else mean


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Return the two-sided Student interval of the mean as ``[low, high]``.

    None for fewer than two values. Equal values give a point: that states how little the metric resolves, not that
    the mean is known.
    """
    sd = spread(values)
    if sd is None:
        return None
    mean = statistics.fmean(values)
    half = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * sd / math.sqrt(len(values))
    return [mean - half, mean + half]


def paired_p(differences: Sequence[float]) -> float | None:
    """Return the two-sided p of "the mean difference is 0" from paired differences.

    The paired t test where it is defined. None for fewer than two pairs. Where all n differences are equal there is
    no spread to divide by and t would be infinite: zeros give 1.0, any other constant gives the exact sign test,
    ``2 ** (1 - n)``, which is all that n equal signs can support.
    """
    sd = spread(differences)
    if sd is None:
        return None
    mean, n = mean_difference(differences), len(differences)
    if sd == 0:
        return 1.0 if mean == 0 else 2.0 ** (1 - n)
    return float(2 * stats.t.sf(abs(mean) * math.sqrt(n) / sd, n - 1))


def mcnemar_p(wins: int, losses: int) -> float:
    """Return McNemar's exact two-sided p from the discordant counts; 1.0 where there is none."""
    return min(1.0, 2 * float(stats.binom.cdf(min(wins, losses), wins + losses, 0.5)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's step-down corrected p-values, in the order given; a None stays None and is not counted."""
    ranked = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(ranked):
        largest = max(largest, min(1.0, (len(ranked) - rank) * p))
        corrected[i] = largest
    return corrected
