"""Expected best of n settings against the budget, so that whoever tried more settings gains nothing from it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from math import comb

from orchestrator.summary.schema import BestOf, RateSummary


def best_of_n(ranked: Sequence[RateSummary]) -> list[BestOf]:
    """Return for n = 1, 2, ... what the best of n settings is expected to reach; ``ranked`` has the best first.

    The curve is that of Dodge et al. (arXiv 1909.03004), estimated without bias as Tang et al. (arXiv 2004.13705) ask
    for: n of the N settings are drawn without replacement and the best of them is kept. The one of rank r (1 is best)
    is kept with probability ``C(N - r, n - 1) / C(N, n)``. Drawn with replacement, as by Dodge et al., the best of few
    is found less often than the best of many, so that whoever tried more would gain at an equal n (ADR 12).

    "Best" is the sweep's own rule (`variance.choose_rate`), which reads validation; ``test`` is what that choice then
    reaches. Settings without a finished run are left out. Compare methods at equal n, or at equal runs or seconds; the
    curve ends at n = N, for beyond it there is no evidence, with the figures of the setting that the sweep has chosen.
    There is none at all where runs were stopped at a rung: what they would have reached is not known, and those left
    are the better ones.
    """
    if any(found["stopped"] for found in ranked):
        return []
    tried = [found for found in ranked if found["n"]]
    return [
        {
            "n": n,
            "runs": n * statistics.fmean(found["n"] + found["diverged"] + found["failed"] for found in tried),
            "train_seconds": _times(n, [found["train_seconds"] for found in tried], [found["n"] for found in tried]),
            "validation": _expected(tried, n, lambda found: found["validation_mean"]),
            "test": _expected(tried, n, lambda found: found["mean"]),
        }
        for n in range(1, len(tried) + 1)
    ]


def _expected(ranked: Sequence[RateSummary], n: int, figure: Callable[[RateSummary], float | None]) -> float | None:
    """Return the expected figure of the best of n; None where a setting lacks it."""
    size, total = len(ranked), 0.0
    for place, found in enumerate(ranked):
        value = figure(found)
        if value is None:
            return None
        total += value * (comb(size - 1 - place, n - 1) / comb(size, n))
    return total


def _times(n: int, seconds: Sequence[float | None], runs: Sequence[int]) -> float | None:
    """Return the seconds that n settings of average cost take, over all their finished runs."""
    known = [each * count for each, count in zip(seconds, runs, strict=True) if each is not None]
    return n * statistics.fmean(known) if len(known) == len(seconds) else None
