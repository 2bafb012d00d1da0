"""Pure: the batches whose steps are measured, one of typical length and one with the longest row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from orchestrator.data.batches import draw_batches
from orchestrator.data.tokens import Item
from orchestrator.recipe.sections import OptimSpec

SEEDS = 4  # the number of seeds; the lanes of a measured step get the seeds' batches in turn
Batch = list[Item]


class ProbeBatches(NamedTuple):
    """Batches of one task; the lanes of a measured step get these batches in turn.

    ``typical`` has one batch per seed, all from the same step: as in a pack, lanes then have rows of different lengths.
    Of all steps this step is chosen because in it the longest row of the first seed's batch has the median length. Time
    is measured with ``typical``. ``longest`` is the one batch with the longest row of the first seed's batches. Memory
    is measured with ``longest``.
    """

    typical: list[Batch]
    longest: list[Batch]


def probe_batches(items: Sequence[Item], optim: OptimSpec, task: str) -> ProbeBatches:
    """Draw the batches of one epoch over a task's training ``items`` for each of `SEEDS` seeds, and choose steps."""
    lengths = [trained_length(item) for item in items]
    by_seed = [
        list(draw_batches(lengths, global_batch=optim.global_batch, epochs=1, task=task, seed=seed))
        for seed in range(SEEDS)
    ]
    first = by_seed[0]
    steps = sorted(range(len(first)), key=lambda step: max(lengths[row] for row in first[step]))
    median, last = steps[len(steps) // 2], steps[-1]
    typical = [[items[row] for row in batches[median]] for batches in by_seed]
    return ProbeBatches(typical, [[items[row] for row in first[last]]])


def micro_batch_tokens(batch: Sequence[Item], optim: OptimSpec) -> int:
    """Return the number of tokens, padding included, of one micro batch with the longest row of ``batch``."""
    return min(optim.micro_batch, len(batch)) * max(map(trained_length, batch))


def trained_length(item: Item) -> int:
    """Return the number of tokens of the row that is trained: the prompt with its right answer."""
    return len(item.trained()[0])
