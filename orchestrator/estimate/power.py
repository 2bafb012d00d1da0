"""What a recipe's seeds can show: the smallest difference that they detect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.recipe.seeds import SeedAxes
from orchestrator.statistics.thresholds import LEVELS


def independent(seeds: Sequence[int] | SeedAxes) -> int:
    """Return how many independent runs a mean over the seeds is worth at least.

    Runs of a grid share their starts and their orders. With variances ``a`` between starts, ``b`` between orders and
    ``e`` of the rest, the mean over I starts and J orders has variance ``a/I + b/J + e/(I J)``, which is at most
    ``(a + b + e) / min(I, J)``. An axis with one seed is not counted: results then hold for that start or order alone.
    """
    if not isinstance(seeds, SeedAxes):
        return len(seeds)
    return min((size for size in (len(seeds.init), len(seeds.data)) if size > 1), default=1)


def is_tested(seeds: Sequence[int] | SeedAxes) -> bool:
    """Return whether means over the seeds, once all have finished, are tested and have an interval."""
    if not isinstance(seeds, SeedAxes):
        return len(seeds) > 1
    fewest, most = sorted((len(seeds.init), len(seeds.data)))
    return fewest >= LEVELS or (fewest == 1 and most > 1)


SPREADS = {0.01: 10, 0.02: 34}
"""``seeds_needed(0.01, sd)``, the seeds that detect one point, by the standard deviation of a paired difference."""
# smallest_detectable_difference(n, 1.0) for n = 2, 3, ...: loading scipy, which computes it, takes longer than a plan.
EFFECTS = (11.549888, 3.264044, 2.127949, 1.681997, 1.434545, 1.272567, 1.156035, 1.066973, 0.996001)


@dataclass(frozen=True)
class Detectable:
    """The smallest difference that the seeds detect with power 0.8, both as shares; None for a single seed.

    ``seeds_for_one_point`` is how many paired seeds detect a difference of 0.01.
    """

    sd: float
    difference: float | None
    seeds_for_one_point: int


def detectable(seeds: int) -> list[Detectable]:
    """Return the smallest detectable difference for each of ``SPREADS``."""
    return [
        Detectable(sd, smallest_difference(seeds, sd) if seeds > 1 else None, enough) for sd, enough in SPREADS.items()
    ]


def smallest_difference(seeds: int, sd: float) -> float:
    """Return the smallest difference that ``seeds`` paired seeds detect with power 0.8; ``sd`` is a share.

    Up to ten seeds it is read from a table; beyond, `smallest_detectable_difference` computes it.
    """
    if seeds - 2 < len(EFFECTS):
        return sd * EFFECTS[seeds - 2]
    from orchestrator.statistics.power import smallest_detectable_difference

    return smallest_detectable_difference(seeds, sd)
