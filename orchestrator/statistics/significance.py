"""p values of paired comparisons, and their correction for several comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy import stats

from orchestrator.statistics.intervals import mean_difference, spread


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


def one_sided_mcnemar_p(losses: int, wins: int) -> float:
    """Return McNemar's exact one-sided p of "losses are no likelier than wins"; 1.0 if no item is discordant."""
    return float(stats.binom.sf(losses - 1, losses + wins, 0.5))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's step-down corrected p-values in the given order; a p of None stays None and is not counted."""
    ranked = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(ranked):
        largest = max(largest, min(1.0, (len(ranked) - rank) * p))
        corrected[i] = largest
    return corrected
