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
SIZES: Range = (0.0, math.inf)
"""The range of a volatility."""


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
