"""Expected best of n settings against the budget, so that more tries alone gain nothing."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from math import comb

from orchestrator.summary.schema import BestOf, RateSummary


def best_of_n(ranked: Sequence[RateSummary]) -> list[BestOf]:
    """Return for n = 1, 2, ... the expected figures of the best of n settings; ``ranked`` has the best setting first.

    The curve is that of Dodge et al. (arXiv 1909.03004), estimated without bias as Tang et al. (arXiv 2004.13705) ask
    for: n of the N settings are drawn without replacement and the best of the n is kept. The setting of rank r (1 is
    best) is kept with probability ``C(N - r, n - 1) / C(N, n)``. Dodge et al. draw with replacement, which draws the
    best of few settings less often than the best of many, so that whoever tried more settings would gain at an equal n
    (ADR 12).

    "Best" is the sweep's own rule (`rates.choose_rate`), which reads validation; ``test`` is the test accuracy of the
    setting that this rule chooses. Settings without a finished run are left out. Compare methods at equal n, or at
    equal runs or seconds. The curve ends at n = N with the figures of the setting that the sweep has chosen. If runs
    were stopped at a rung the curve is empty, because their accuracy is not known, and the runs that were not
    stopped were selected.
    """
    if any(setting["stopped"] for setting in ranked):
        return []
    tried = [setting for setting in ranked if setting["n"]]
    return [
        {
            "n": n,
            "runs": n * statistics.fmean(setting["n"] + setting["diverged"] + setting["failed"] for setting in tried),
            "train_seconds": _times(n, tried),
            "validation": _expected(n, [setting["validation_mean"] for setting in tried]),
            "test": _expected(n, [setting["mean"] for setting in tried]),
        }
        for n in range(1, len(tried) + 1)
    ]


def _expected(n: int, ranked: Sequence[float | None]) -> float | None:
    """Return the expected value of the best of n settings, from each setting's value, the best setting's first.

    None if a setting has no value.
    """
    known = [value for value in ranked if value is not None]
    size = len(ranked)
    if len(known) < size:
        return None
    chances = [comb(size - rank, n - 1) / comb(size, n) for rank in range(1, size + 1)]
    return sum(value * chance for value, chance in zip(known, chances, strict=True))


def _times(n: int, tried: Sequence[RateSummary]) -> float | None:
    """Return the seconds that n settings of average cost take, over all their finished runs."""
    known = [setting["train_seconds"] * setting["n"] for setting in tried if setting["train_seconds"] is not None]
    return n * statistics.fmean(known) if len(known) == len(tried) else None
