"""Which rows form which batch: length buckets drawn per task, members per seed, so that lanes stay aligned."""

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

    Rows are sorted by length into buckets. The order of buckets depends on the task alone and which rows of a bucket
    go together on the seed, so that the same step of every seed has rows of similar length.
    """
    steps = count_steps(len(lengths), global_batch, epochs)
    by_length = sorted(range(len(lengths)), key=lambda row: (lengths[row], row))
    size = global_batch * BUCKET_BATCHES
    buckets = [by_length[begin : begin + size] for begin in range(0, len(by_length), size)]
    for epoch in range(math.ceil(epochs)):
        members = random.Random(f"{seed} {epoch}")  # noqa: S311 - no secrets: batches must be reproducible
        batches: list[list[int]] = []
        for bucket in buckets:
            mixed = members.sample(bucket, len(bucket))
            batches += [mixed[begin : begin + global_batch] for begin in range(0, len(mixed), global_batch)]
        random.Random(f"{task} {epoch}").shuffle(batches)  # noqa: S311
        yield from batches[: steps - epoch * len(batches)]


def share(batch: Sequence[int], *, micro_batch: int, micro: int, rank: int, world: int) -> Sequence[int]:
    """Return the rows of a global batch that ``rank`` takes in micro step ``micro``; none where the batch is short."""
    begin = (micro * world + rank) * micro_batch
    return batch[begin : begin + micro_batch]
