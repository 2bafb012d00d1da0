"""The numbers of a diagnosis: per layer, and joined over layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

Numbers = dict[str, float]
_JOINED_BY: dict[str, Callable[[Sequence[float]], float]] = {"norm_drift_max": max}


def over_layers(each: Sequence[Numbers]) -> Numbers:
    """Return the mean of each number over the layers that have it; of ``norm_drift_max`` the maximum.

    >>> over_layers([{"stable_rank": 1.0, "norm_drift_max": 0.1}, {"stable_rank": 2.0, "norm_drift_max": 0.3}])
    {'stable_rank': 1.5, 'norm_drift_max': 0.3}
    """
    names = dict.fromkeys(name for numbers in each for name in numbers)
    return {name: _JOINED_BY.get(name, fmean)([numbers[name] for numbers in each if name in numbers]) for name in names}
