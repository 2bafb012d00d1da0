"""Power of paired comparisons: how many seeds detect which difference."""

from __future__ import annotations

import math
from functools import lru_cache

from scipy import optimize, special, stats

MOST_SEEDS = 10_000
"""The most seeds that are counted: nobody trains more, so a larger number would not help."""


def paired_power(n: int, effect: float, alpha: float = 0.05) -> float:
    """Return the power of the two-sided paired t test on n pairs for ``effect`` = mean difference / sd."""
    critical, shift = float(stats.t.ppf(1 - alpha / 2, n - 1)), abs(effect) * math.sqrt(n)
    upper = float(stats.nct.sf(critical, n - 1, shift))
    # The far tail is below norm.cdf(-shift), 1e-9 at 6 and less beyond, where scipy's series for it can fail.
    return upper + float(stats.nct.cdf(-critical, n - 1, shift)) if shift < 6 else upper


def smallest_detectable_difference(n: int, sd: float, power: float = 0.8) -> float:
    """Return the mean difference that n paired seeds detect with the given power (two-sided 5 %, noncentral t).

    ``sd`` is the standard deviation of the paired differences; the result has the same unit. ValueError for fewer than
    two seeds, and for an sd or a power out of range.
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

    None if ``MOST_SEEDS`` are not enough. ValueError for a difference of 0, and for an sd or a power out of range.
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
    """Return the seeds by the normal distribution with Guenther's correction, at most two seeds off.

    Guenther (1981), Sample size formulas for normal theory t tests, The American Statistician 35.
    """
    critical = float(special.ndtri(0.975))
    wanted = ((critical + float(special.ndtri(power))) / effect) ** 2 + critical**2 / 2
    return int(min(max(2.0, math.ceil(wanted)), MOST_SEEDS))


def _detects(n: int, effect: float, power: float) -> bool:
    """Return whether n seeds detect the effect with the power.

    An effect so far beyond the critical value that the noncentral t would overflow is certainly detected.
    """
    certain = effect * math.sqrt(n) > 50 + 5 * float(stats.t.ppf(0.975, n - 1))
    return certain or paired_power(n, effect) >= power


def _check(sd: float, power: float) -> None:
    if not (sd >= 0 and math.isfinite(sd)):
        raise ValueError(f"sd={sd} is not a standard deviation: a finite number of 0 or more is needed.")
    if not 0.05 < power < 1:
        raise ValueError(f"power={power} is outside (0.05, 1): 0.8 is usual.")
