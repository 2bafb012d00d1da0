"""Intervals, tests and power: the distributions behind every claim."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import lru_cache

from scipy import optimize, special, stats

Interval = list[float]
ROUNDING = 1e-12
"""Accuracies are counts over items, so a spread or a mean difference below this is rounding, not a finding."""
MOST_SEEDS = 10_000
"""Nobody trains more seeds than this: beyond it, how many more is no help."""


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


def paired_power(n: int, effect: float, alpha: float = 0.05) -> float:
    """Return the power of the two-sided paired t test on n pairs for ``effect`` = mean difference / sd."""
    critical, shift = float(stats.t.ppf(1 - alpha / 2, n - 1)), abs(effect) * math.sqrt(n)
    upper = float(stats.nct.sf(critical, n - 1, shift))
    # The far tail is below norm.cdf(-shift), 1e-9 at 6 and less beyond, where scipy's series for it can fail.
    return upper + float(stats.nct.cdf(-critical, n - 1, shift)) if shift < 6 else upper


def smallest_detectable_difference(n: int, sd: float, power: float = 0.8) -> float:
    """Return the mean difference that n paired seeds detect with the given power (two-sided 5 %, noncentral t).

    ``sd`` is the standard deviation of the paired differences; the result has its unit.
    """
    _check(sd, power)
    if n < 2:
        raise ValueError(f"n={n}: a difference between seeds needs at least 2 of them.")
    return sd * _detectable_effect(n, power)


@lru_cache(maxsize=1024)
def _detectable_effect(n: int, power: float) -> float:
    """Return the smallest mean difference over sd that n pairs detect."""
    high = 1.0
    while paired_power(n, high) < power:
        high *= 1.5
    return float(optimize.brentq(lambda effect: paired_power(n, effect) - power, 0.0, high, xtol=1e-13))


def seeds_needed(difference: float, sd: float, power: float = 0.8) -> int | None:
    """Return the fewest paired seeds (2 or more) that detect ``difference`` with the given power (two-sided 5 %).

    None where ``MOST_SEEDS`` are not enough.
    """
    _check(sd, power)
    if difference == 0:
        raise ValueError("difference=0: no number of seeds detects a difference that is not there.")
    if sd == 0:
        return 2
    effect = abs(difference) / sd
    seeds = _first_guess(effect, power)
    while seeds > 2 and _detects(seeds - 1, effect, power):
        seeds -= 1
    while not _detects(seeds, effect, power):
        if seeds >= MOST_SEEDS:
            return None
        seeds += 1
    return seeds


def _first_guess(effect: float, power: float) -> int:
    """Return the seeds that the normal distribution would ask for, with Guenther's correction: one or two off, if any.

    Guenther (1981), Sample size formulas for normal theory t tests, The American Statistician 35.
    """
    critical = float(special.ndtri(0.975))
    wanted = ((critical + float(special.ndtri(power))) / effect) ** 2 + critical**2 / 2
    return int(min(max(2.0, math.ceil(wanted)), MOST_SEEDS))


def _detects(n: int, effect: float, power: float) -> bool:
    """Compare, sure beforehand where the shift is so far beyond the critical value that the noncentral t overflows."""
    certain = effect * math.sqrt(n) > 50 + 5 * float(stats.t.ppf(0.975, n - 1))
    return certain or paired_power(n, effect) >= power


def _check(sd: float, power: float) -> None:
    if not (sd >= 0 and math.isfinite(sd)):
        raise ValueError(f"sd={sd} is not a standard deviation: a finite number of 0 or more is needed.")
    if not 0.05 < power < 1:
        raise ValueError(f"power={power} is outside (0.05, 1): 0.8 is usual.")
