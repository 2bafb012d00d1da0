"""Pure: whether two ways of scoring the same questions agree, and where they do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.data.tokens import Item

BOUNDS = {"float32": 1024 * 2.0**-23, "bfloat16": 32 * 2.0**-7}
"""What a score may differ by, as a share of its scale: a few times what was measured (ADR 20)."""
CALM = 8  # in root mean square over all scores it is so many times less

Scores = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Agreement:
    """What comparing two ways gave; ``largest`` is in nats, ``rms`` and ``bound`` are shares of a score's scale.

    ``apart`` are the numbers of the items with a score beyond ``bound``; ``flips`` those whose best choice differs.
    """

    items: int
    apart: tuple[int, ...]
    flips: tuple[int, ...]
    largest: float
    rms: float
    bound: float

    @property
    def holds(self) -> bool:
        """Whether the ways differ by rounding alone: a flip is one where choices are nearer than that."""
        return not self.apart and self.rms <= self.bound / CALM

    def fields(self) -> dict[str, Any]:
        """Return it for a JSON file, which has no number that is not finite."""
        finite = {name: value if math.isfinite(value) else None for name, value in self._numbers().items()}
        return {"holds": self.holds, "items": self.items, **finite, "apart": [*self.apart], "flips": [*self.flips]}

    def _numbers(self) -> dict[str, float]:
        return {"largest_difference": self.largest, "rms": self.rms, "bound": self.bound}


def agreement(items: Sequence[Item], first: Scores, second: Scores, dtype: str) -> Agreement:
    """Compare the scores of every choice of ``items`` by two ways, of which ``second`` is the one to go by.

    ``dtype`` is that of the weights. A score is a sum of log-likelihoods in nats; its scale is its magnitude and one
    nat for each of its tokens, for a logit's rounding is in proportion to the logit.
    """
    bound = BOUNDS[dtype]
    shares: list[float] = []
    apart, flips, largest = [], [], 0.0
    for number, (item, one, other) in enumerate(zip(items, first, second, strict=True)):
        differences = [_gap(a, b) for a, b in zip(one, other, strict=True)]
        own = [gap / scale for gap, scale in zip(differences, _scales(item, other), strict=True)]
        shares += own
        largest = max([largest, *differences], key=_nan_last)
        if not all(share <= bound for share in own):  # NaN is apart from everything
            apart.append(number)
        if _best(one) != _best(other):
            flips.append(number)
    rms = math.sqrt(math.fsum(share * share for share in shares) / max(1, len(shares)))
    return Agreement(len(items), tuple(apart), tuple(flips), largest, rms, bound)


def _gap(one: float, other: float) -> float:
    """Return the difference: 0 of equal values, for two choices that both cannot be (-inf) agree."""
    return 0.0 if one == other else abs(one - other)


def _scales(item: Item, scores: Sequence[float]) -> list[float]:
    tokens = [len(choice) - start for choice, start in zip(item.choices, item.starts, strict=True)]
    return [count + abs(score) for count, score in zip(tokens, scores, strict=True)]


def _best(scores: Sequence[float]) -> list[int]:
    """Return the choices that share the best score."""
    return [choice for choice, score in enumerate(scores) if score == max(scores)]


def _nan_last(value: float) -> float:
    return math.inf if math.isnan(value) else value
