"""Training volatility: the spread of a loss curve around its own trend, and its mean change from step to step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def loss_volatility(losses: Sequence[float]) -> float:
    """Return the standard deviation of the step loss around its centred running median, in units of the loss.

    Fixed before any run was made. For n step losses l_1..l_n:

    - the window is ``w = max(5, n // 10)``, made odd by adding 1 where it is even; half is ``h = (w - 1) / 2``;
    - the trend at step t is the median of ``l_(t-h) .. l_(t+h)``, for the steps with a full window, h < t <= n - h;
    - volatility is the sample standard deviation (ddof 1) of ``l_t - trend_t`` over those steps.

    The trend is a median, not a mean, because a median follows any steadily falling curve exactly, however curved
    (volatility 0), and because a spike does not lift its own trend. Compare only runs with the same number of steps,
    because w grows with n. Fewer than 6 losses fill one window at most and give 0.0. A loss that is not finite gives
    infinity.
    """
    curve = np.asarray(losses, dtype=np.float64)
    if not np.isfinite(curve).all():
        return math.inf
    window = max(5, len(curve) // 10) | 1
    if len(curve) <= window:
        return 0.0
    half = window // 2
    trend = np.median(sliding_window_view(curve, window), axis=1)
    return float(np.std(curve[half:-half] - trend, ddof=1))


def loss_change(losses: Sequence[float]) -> float:
    """Return the mean absolute change of the step loss, ``mean |l_t - l_(t-1)|`` for t = 2..n, in units of the loss.

    The figure contains the descent as well, because no trend is subtracted. Short runs have it too, because it needs no
    window. Fixed before any run was made. Fewer than 2 losses give 0.0. A loss that is not finite gives infinity.
    """
    curve = np.asarray(losses, dtype=np.float64)
    if not np.isfinite(curve).all():
        return math.inf
    return float(np.abs(np.diff(curve)).mean()) if len(curve) > 1 else 0.0
