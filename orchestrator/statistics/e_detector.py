"""A detector of a lasting shift that may be looked at every night; mean and spread before the shift are not known.

Shin, Ramdas and Rinaldo (2023), E-detectors: a nonparametric framework for sequential change detection, NEJSDS 2. The
detector of Shiryaev and Roberts is the sum over all possible first nights j of an e-process that starts at j. Without a
change its expectation after t nights is at most t, so the mean time to the first crossing of a threshold A is A nights
or more (their theorem 2.4).

An e-process needs a null with known distribution; mean and spread of a canary are unknown. Recursive residuals have one
(Brown, Durbin and Evans 1975): night t's mean minus the mean of all earlier runs, over its standard error from the runs
so far, is Student's t, and independent over nights if runs are independent and normal. So its normal score z_t is
standard normal, and ``exp(m z_t - m^2 / 2)`` has expectation 1 for any m that is known before night t. A shift of d
standard deviations at night j moves z_t by about ``m = d * N_j * gain_t``, where N_j runs came before j and
``gain_t = 1 / (N_t sqrt(1 / n_t + 1 / N_t))``, because the runs after j have moved the mean, too. That m is the bet.
The size d is not known: the e-process is the mean over `SHIFTS`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestrator.statistics.estimate import scores_of

Array = NDArray[np.float64]
SHIFTS = (0.5, 1.0, 2.0, 4.0)
"""The sizes of a shift that are bet on, in standard deviations of a run."""


class Residuals(NamedTuple):
    """Per series and night: the score z, the gain, and the number N of runs before the night; all of shape (H, N)."""

    scores: Array
    gains: Array
    before: Array


class Detected(NamedTuple):
    """Per series the logarithm of the detector, and the index of the night at which a shift most likely began."""

    logarithm: Array
    start: NDArray[np.int64]


def residuals(values_HNF: Array, floor_H: Array) -> Residuals:
    """Return the recursive residuals of H series of N nights with up to F runs per night; nan is no run.

    ``floor_H`` is the least standard deviation of a run that is believed. A night before which fewer than two runs are
    known, and a night without runs, has score and gain 0, so it bets nothing.
    """
    known = np.isfinite(values_HNF)
    count = known.sum(axis=2).astype(np.float64)
    middle = np.where(known, values_HNF, 0.0).sum(axis=(1, 2)) / np.maximum(known.sum(axis=(1, 2)), 1)
    centred = np.where(known, values_HNF - middle[:, None, None], 0.0)  # near 0: sums of squares lose no digits
    total, squares = centred.sum(axis=2), (centred**2).sum(axis=2)
    before = np.cumsum(count, axis=1) - count
    sum_before, squares_before = np.cumsum(total, axis=1) - total, np.cumsum(squares, axis=1) - squares
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_before, mean = sum_before / before, total / count
        within = squares - total * mean + squares_before - sum_before * mean_before
        freedom = before - 1 + np.maximum(count - 1, 0)
        sd = np.maximum(np.sqrt(np.maximum(within, 0.0) / freedom), floor_H[:, None])
        wide = np.sqrt(1 / count + 1 / before)
        ratio, gain = (mean - mean_before) / (sd * wide), 1 / (before * wide)
    usable = (count > 0) & (before >= 2) & (sd > 0)
    scores = scores_of(np.where(usable, ratio, 0.0), np.where(usable, freedom, 1.0))
    return Residuals(np.where(usable, scores, 0.0), np.where(usable, gain, 0.0), before)


def detector(series: Residuals, starts_HN: NDArray[np.bool_], sign: int) -> Detected:
    """Return the detector after the last night, for shifts upwards (``sign`` 1) or downwards (-1).

    ``starts_HN`` tells the nights on which a shift may have begun. A series without such a night has the logarithm
    -inf. A start before which fewer than two runs are known is none.
    """
    gained = _sums_from(series.gains * sign * series.scores)
    spent = _sums_from(series.gains**2)
    shift = np.array(SHIFTS)[:, None, None] * series.before  # S, H, N: the bet at gain 1
    bets = shift * gained - shift**2 * spent / 2
    per_start = _log_sum(bets, axis=0) - np.log(len(SHIFTS))
    per_start = np.where(starts_HN & (series.before >= 2), per_start, -np.inf)
    return Detected(_log_sum(per_start, axis=1), per_start.argmax(axis=1))


def _log_sum(values: Array, axis: int) -> Array:
    """Return the logarithm of the sum of exponentials; of nothing but -inf it is -inf."""
    largest = values.max(axis=axis, keepdims=True)
    shift = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(divide="ignore"):
        total: Array = np.log(np.exp(values - shift).sum(axis=axis)) + shift.squeeze(axis)
    return total


def _sums_from(values_HN: Array) -> Array:
    """Return at every night the sum over that night and all later ones."""
    sums: Array = np.cumsum(values_HN[:, ::-1], axis=1)[:, ::-1]
    return sums
