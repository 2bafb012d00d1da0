"""Which rows form which batch, and in which order: rows of similar length, all else drawn by the seed."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from fractions import Fraction

BUCKET_BATCHES = 8  # batches of similar length that share their rows; fewer pad less, more mix better


def count_steps(rows: int, global_batch: int, epochs: float) -> int:
    """Return the optimizer steps of a run: every row once an epoch, the last batch of an epoch may be smaller."""
    whole, part = divmod(Fraction(str(epochs)), 1)  # 1.1 is eleven tenths, not the float above it
    return whole * math.ceil(rows / global_batch) + math.ceil(part * rows / global_batch)


def draw_batches(
    lengths: Sequence[int], *, global_batch: int, epochs: float, task: str, seed: int
) -> Iterator[list[int]]:
    """Yield the row numbers of each global batch, `count_steps` of them.

    Rows are sorted by length into buckets. The seed draws which rows of a bucket go together, and the order of the
    batches of all buckets, anew in each epoch: no part of the order is the same in every seed.
    """
    steps = count_steps(len(lengths), global_batch, epochs)
    by_length = sorted(range(len(lengths)), key=lambda row: (lengths[row], row))
    size = global_batch * BUCKET_BATCHES
    buckets = [by_length[begin : begin + size] for begin in range(0, len(by_length), size)]
    for epoch in range(math.ceil(epochs)):
        drawn = random.Random(f"{task} {seed} {epoch}")  # noqa: S311 - no secrets: batches must be reproducible
        batches: list[list[int]] = []
        for bucket in buckets:
            mixed = drawn.sample(bucket, len(bucket))
            batches += [mixed[begin : begin + global_batch] for begin in range(0, len(mixed), global_batch)]
        drawn.shuffle(batches)
        yield from batches[: steps - epoch * len(batches)]


def share(batch: Sequence[int], *, micro_batch: int, micro: int, rank: int, world: int) -> Sequence[int]:
    """Return the rows of a global batch that ``rank`` takes in micro step ``micro``; none where the batch is short."""
    begin = (micro * world + rank) * micro_batch
    return batch[begin : begin + micro_batch]
