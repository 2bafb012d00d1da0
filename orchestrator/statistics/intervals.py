"""Student's interval and test of a mean, McNemar's test, and Holm's correction, on which every verdict rests."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy import stats

from orchestrator.statistics.thresholds import ROUNDING

Interval = list[float]
"""The lower and the upper end."""
Range = tuple[float, float]
"""The smallest and the largest value that a figure can have."""
SHARES: Range = (0.0, 1.0)
"""The range of an accuracy."""
DIFFERENCES: Range = (-1.0, 1.0)
"""The range of a difference between two accuracies."""


def spread(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation (ddof 1), exactly 0 for equal values; None for fewer than two values."""
    if len(values) < 2:
        return None
    sd = statistics.stdev(values)
    return 0.0 if sd <= ROUNDING else sd


def mean_difference(differences: Sequence[float]) -> float:
    """Return the mean of one or more paired differences; a mean that only rounding keeps from 0 is exactly 0."""
    mean = statistics.fmean(differences)
    return 0.0 if abs(mean) <= ROUNDING else mean


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Return the two-sided Student interval of the mean as ``[low, high]``.

    None for fewer than two values. None for equal values too: their standard deviation is 0, so the interval would be a
    point, which would claim that the mean is known exactly. Equal accuracies of a few seeds only say that the seeds
    differ by less than one test item.
    """
    sd = spread(values)
    if not sd:
        return None
    mean = statistics.fmean(values)
    half = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * sd / math.sqrt(len(values))
    return [mean - half, mean + half]


def clipped(interval: Interval | None, limits: Range) -> Interval | None:
    """Return the part of the interval that lies within ``limits``, the range of the figure; None stays None.

    The true value lies within the limits, so the clipped interval holds the true value exactly when the whole interval
    does: the coverage is the same (ADR 29).
    """
    if interval is None:
        return None
    low, high = limits
    return [min(max(end, low), high) for end in interval]


def paired_p(differences: Sequence[float]) -> float | None:
    """Return the two-sided p of "the mean difference is 0" from paired differences.

    The p is that of the paired t test. None for fewer than two pairs. If all n differences are equal, their standard
    deviation is 0 and t would be infinite. Then differences of 0 give 1.0, and other equal differences give the exact
    sign test, ``2 ** (1 - n)``, because n equal signs support no smaller p.
    """
    sd = spread(differences)
    if sd is None:
        return None
    mean, n = mean_difference(differences), len(differences)
    if sd == 0:
        return 1.0 if mean == 0 else 2.0 ** (1 - n)
    return float(2 * stats.t.sf(abs(mean) * math.sqrt(n) / sd, n - 1))


def mcnemar_p(wins: int, losses: int) -> float:
    """Return McNemar's exact two-sided p from the counts of discordant items; 1.0 if no item is discordant."""
    return min(1.0, 2 * float(stats.binom.cdf(min(wins, losses), wins + losses, 0.5)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's step-down corrected p-values in the given order; a p of None stays None and is not counted."""
    ranked = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(ranked):
        largest = max(largest, min(1.0, (len(ranked) - rank) * p))
        corrected[i] = largest
    return corrected
