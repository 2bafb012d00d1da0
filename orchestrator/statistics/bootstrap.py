"""Bootstrap intervals: resamples of seeds, of seeds within tasks, and of test items."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, stats

from orchestrator.statistics.intervals import Interval, spread
from orchestrator.statistics.thresholds import ROUNDING

RESAMPLES = 9_999
"""Number of resamples of the seeds of one method on one task (scipy's default)."""
STRATIFIED_RESAMPLES = 2_000
"""Number of resamples of all tasks together (rliable's default)."""
NEARLY_ALL = 1 - 1e-6
"""The highest level of a BCa interval. At a higher level scipy divides by 0, and the ends are the extremes anyway."""
VALUES_AT_ONCE = 2_000_000
"""How many resampled values are in memory at once."""

Statistic = Callable[..., Any]
"""A function of one array per stratum that reduces the last axis of each, as scipy's ``vectorized`` statistics do."""


def bca_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Return the bias-corrected and accelerated bootstrap interval of the mean as ``[low, high]``.

    Efron (1987), Better bootstrap confidence intervals, as in ``scipy.stats.bootstrap``, from a fixed seed, so that
    the same values in any order give the same interval. None for fewer than two values, and for equal values, whose
    resamples are all alike. The level is raised (see ``_expanded``), because at the nominal level the intervals of 5
    seeds cover 85 %, not 95 %. Quote the t interval; the BCa interval shows where skewed seeds would pull it.
    """
    if not spread(values):
        return None
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    result = stats.bootstrap(
        (ordered,),
        np.mean,
        confidence_level=min(_expanded(level, [len(ordered)]), NEARLY_ALL),
        n_resamples=RESAMPLES,
        method="BCa",
        rng=np.random.default_rng(0),
    )
    return _ends(result)


def stratified_interval(
    strata: Sequence[Sequence[float]], statistic: Statistic, level: float = 0.95
) -> Interval | None:
    """Return the percentile interval of ``statistic`` over resamples that draw the seeds of every stratum again.

    Agarwal et al. (arXiv 2108.13264), section 4.1: a stratum is one task of one method, so each resample has as many
    runs of each task as the sweep. The level is raised (see ``_expanded``), because few seeds make the nominal interval
    too short. The random seed is fixed. None without strata, if a stratum has fewer than two values, and if
    both ends are the same value, because an interval without width would claim certainty.
    """
    if not strata or min(len(values) for values in strata) < 2:
        return None
    samples = [np.sort(np.asarray(values, dtype=np.float64)) for values in strata]
    result = stats.bootstrap(
        samples,
        statistic,
        vectorized=True,
        confidence_level=_expanded(level, [len(values) for values in samples]),
        n_resamples=STRATIFIED_RESAMPLES,
        batch=max(1, VALUES_AT_ONCE // sum(len(values) for values in samples)),
        method="percentile",
        rng=np.random.default_rng(0),
    )
    low, high = _ends(result)
    return [low, high] if high - low > ROUNDING else None


def _expanded(level: float, sizes: Sequence[int]) -> float:
    """Return the level at which a bootstrap interval of near-normal means is as wide as Student's.

    Hesterberg (2015), What teachers should know about the bootstrap, The American Statistician 69, "expanded
    percentile interval": the variance of means of resamples of n values is too small by the factor ``(n - 1) / n``, and
    these means are normal, not t distributed. n is the harmonic mean of the strata's sizes; the degrees of freedom are
    summed over the strata.
    """
    n = statistics.harmonic_mean(sizes)
    wide = float(stats.t.ppf((1 + level) / 2, sum(sizes) - len(sizes))) * (n / (n - 1)) ** 0.5
    return 1 - 2 * float(stats.norm.sf(wide))


def item_interval(wins: int, losses: int, items: int, level: float = 0.95) -> Interval:
    """Return the paired bootstrap interval over items of ``(wins - losses) / items``, as a share.

    A resample draws the items with replacement, each item with both methods' answers. The distribution over all
    ``items ** items`` resamples is known: the difference of two counts of a multinomial. The interval's ends are the
    quantiles of this distribution, computed through its characteristic function, so nothing is drawn at random. Without
    wins and losses both ends are 0: the two runs gave the same answers. ValueError for more wins and losses
    than items.
    """
    if not 0 <= wins + losses <= items or min(wins, losses) < 0 or items < 1:
        raise ValueError(f"wins={wins} and losses={losses} are no counts over items={items}: they must fit in them.")
    cumulative = np.cumsum(_lead_distribution(wins, losses, items))
    tail = (1 - level) / 2
    low, high = (int(np.searchsorted(cumulative, share)) - items for share in (tail, 1 - tail))
    return [low / items, min(high, items) / items]


def _lead_distribution(wins: int, losses: int, items: int) -> NDArray[np.float64]:
    """Return the probability of every lead (wins minus losses) from ``-items`` to ``items`` in a resample."""
    size = fft.next_fast_len(2 * items + 1)
    turn = np.exp(2j * np.pi * np.arange(size) / size)
    mean_turn = (items - wins - losses + wins * turn + losses / turn) / items
    probability = fft.fft(mean_turn**items).real / size
    lead: NDArray[np.float64] = np.maximum(probability[np.arange(-items, items + 1)], 0.0)
    return lead


def _ends(result: Any) -> Interval:
    return [float(result.confidence_interval.low), float(result.confidence_interval.high)]
