"""Pure: whether two ways of scoring the same items agree up to rounding, and on which items they differ (ADR 20)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.data.tokens import Item

BOUNDS = {"float32": 1024 * 2.0**-23, "bfloat16": 32 * 2.0**-7}
"""The largest difference of two scores that is still rounding, as a share of the score's scale, by the weights' type.

Each bound is 12 to 47 times the largest difference that was measured (ADR 20).
"""
CALM = 8  # the root mean square of all differences must be this many times below the bound of a single difference

Scores = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Agreement:
    """How far two ways of scoring ``items`` items differ.

    ``largest`` is the largest difference in nats. ``rms`` (of all differences) and ``bound`` (of one difference) are
    shares of a score's scale. ``apart`` are the numbers of the items with a difference beyond ``bound``, ``flips`` the
    numbers of the items whose best choice differs.
    """

    items: int
    apart: tuple[int, ...]
    flips: tuple[int, ...]
    largest: float
    rms: float
    bound: float

    @property
    def holds(self) -> bool:
        """Whether the two ways differ by rounding alone.

        A flip alone is no failure: the scores of its two choices lie closer together than rounding.
        """
        return not self.apart and self.rms <= self.bound / CALM

    def fields(self) -> dict[str, Any]:
        """Return this comparison as fields of a JSON file; NaN and infinity become None, because JSON has neither."""
        finite = {name: value if math.isfinite(value) else None for name, value in self._numbers().items()}
        return {"holds": self.holds, "items": self.items, **finite, "apart": [*self.apart], "flips": [*self.flips]}

    def _numbers(self) -> dict[str, float]:
        return {"largest_difference": self.largest, "rms": self.rms, "bound": self.bound}


def agreement(items: Sequence[Item], first: Scores, second: Scores, dtype: str) -> Agreement:
    """Compare the scores of every choice of ``items`` by two ways; scales are taken from ``second``.

    A score is a sum of log-likelihoods in nats. Its scale is its magnitude plus one nat per token, because the rounding
    of a logit is in proportion to the logit. ``dtype`` is the type of the weights, a key of `BOUNDS`.
    """
    bound = BOUNDS[dtype]
    shares: list[float] = []
    apart, flips, largest = [], [], 0.0
    for number, (item, mine, reference) in enumerate(zip(items, first, second, strict=True)):
        differences = [_difference(a, b) for a, b in zip(mine, reference, strict=True)]
        of_item = [gap / scale for gap, scale in zip(differences, _scales(item, reference), strict=True)]
        shares += of_item
        largest = max([largest, *differences], key=_nan_last)
        if not all(share <= bound for share in of_item):  # so that NaN counts as apart
            apart.append(number)
        if _best(mine) != _best(reference):
            flips.append(number)
    rms = math.sqrt(math.fsum(share * share for share in shares) / max(1, len(shares)))
    return Agreement(len(items), tuple(apart), tuple(flips), largest, rms, bound)


def _difference(first: float, second: float) -> float:
    """Return the difference in nats; 0 for equal values, because -inf minus -inf would be NaN."""
    return 0.0 if first == second else abs(first - second)


def _scales(item: Item, scores: Sequence[float]) -> list[float]:
    """Return the scale of each choice's score, in nats: the score's magnitude plus one nat per answer token."""
    tokens = [len(choice) - start for choice, start in zip(item.choices, item.starts, strict=True)]
    return [count + abs(score) for count, score in zip(tokens, scores, strict=True)]


def _best(scores: Sequence[float]) -> list[int]:
    """Return the choices that share the best score."""
    return [choice for choice, score in enumerate(scores) if score == max(scores)]


def _nan_last(value: float) -> float:
    return math.inf if math.isnan(value) else value
