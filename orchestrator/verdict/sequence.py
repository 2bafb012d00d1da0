"""All nights together: fresh seeds over the nights of a segment, into an e-detector that may be looked at every night.

A change can begin only on a night whose bytes moved, because equal bytes cannot be worse. So only these nights are
starts, and a segment without moved bytes raises no alarm whatever its fresh seeds do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.statistics.e_detector import Detected, detector, residuals
from orchestrator.verdict.scores import Array, Scores

LARGEST = 690.0
"""The largest logarithm that is shown as a number: beyond it a float ends."""


@dataclass(frozen=True)
class Sequence:
    """Per series of scores the detector for a loss and for a gain; e-values are averaged with ``weights``."""

    weights: Array
    loss: Detected
    gain: Detected

    def side(self, sign: int) -> Detected:
        """Return the detector for gains (``sign`` 1) or losses (-1)."""
        return self.gain if sign > 0 else self.loss

    def e(self, sign: int) -> float | None:
        """Return the mean of the e-values over series of scores; None if no bytes moved."""
        shares = self.shares(sign)
        return None if not np.isfinite(self.side(sign).logarithm).any() else float(shares.sum())

    def shares(self, sign: int) -> Array:
        """Return what each series of scores brings to the mean."""
        shares: Array = self.weights * np.exp(np.minimum(self.side(sign).logarithm, LARGEST))
        return shares

    def start(self, sign: int) -> int:
        """Return the index of the night at which the change most likely began; of the strongest series of scores."""
        return int(self.side(sign).start[int(self.shares(sign).argmax())])


def follow(scores: Scores) -> Sequence | None:
    """Return the detectors after tonight; None without fresh seeds, or if no bytes moved since the baseline began."""
    moved_before: NDArray[np.bool_] = np.asarray(scores.moved_CN.any(axis=1))
    if not moved_before.any() or not scores.fresh_CNF.shape[2]:
        return None
    values, weights, floors = scores.with_joint(moved_before)
    starts: NDArray[np.bool_] = scores.moved_CN
    if len(values) > len(scores.cells):
        starts = np.concatenate([starts, starts[moved_before].any(axis=0, keepdims=True)])
    series = residuals(values, floors)
    return Sequence(weights, detector(series, starts, -1), detector(series, starts, 1))
