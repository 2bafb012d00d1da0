"""Which rows form which global batch, in which order: rows of similar length together, the rest drawn by the seed."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from fractions import Fraction

BUCKET_BATCHES = 8
"""The number of batches whose rows of similar length are mixed. Fewer batches need less padding, more mix better."""


def count_steps(rows: int, global_batch: int, epochs: float) -> int:
    """Return the optimizer steps of a run: every row once per epoch. The last batch of an epoch may be smaller."""
    whole, part = divmod(Fraction(str(epochs)), 1)  # the text "1.1" is eleven tenths, the float 1.1 a little more
    return whole * math.ceil(rows / global_batch) + math.ceil(part * rows / global_batch)


def draw_batches(
    lengths: Sequence[int], *, global_batch: int, epochs: float, task: str, seed: int
) -> Iterator[list[int]]:
    """Yield the row numbers of each global batch; there are `count_steps` batches. ``lengths[row]`` is in tokens.

    Rows are sorted by length into buckets of `BUCKET_BATCHES` batches. In each epoch the seed draws which rows of a
    bucket form a batch, and the order of the batches of all buckets. So no part of the order is common to all seeds.
    """
    steps = count_steps(len(lengths), global_batch, epochs)
    by_length = sorted(range(len(lengths)), key=lambda row: (lengths[row], row))
    size = global_batch * BUCKET_BATCHES
    buckets = [by_length[begin : begin + size] for begin in range(0, len(by_length), size)]
    for epoch in range(math.ceil(epochs)):
        drawn = random.Random(f"{task} {seed} {epoch}")  # noqa: S311 - no secret: batches must be reproducible
        batches: list[list[int]] = []
        for bucket in buckets:
            mixed = drawn.sample(bucket, len(bucket))
            batches += [mixed[begin : begin + global_batch] for begin in range(0, len(mixed), global_batch)]
        drawn.shuffle(batches)
        yield from batches[: steps - epoch * len(batches)]
