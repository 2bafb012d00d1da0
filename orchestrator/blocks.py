"""Pure: which lanes of a pass are padded to one length: neighbours, unless their padding costs more than a new block.

A block of lanes is one call of attention and one batched product an adapter; what else a layer computes takes the
tokens of all blocks at once, so rows of different tasks do not pad each other.
"""

from __future__ import annotations

from collections.abc import Sequence

COST = 16
"""What one block more costs, in tokens: its calls take, in each layer, about as long as the products of so many."""


def padded_lengths(lanes: Sequence[tuple[int, int]]) -> list[int]:
    """Return the length that each lane's rows are padded to, for lanes of (rows, tokens of the longest one), in order.

    The cheapest of all ways to cut the lanes into blocks of neighbours, by dynamic programming.
    """
    best: list[tuple[int, int]] = [(0, 0)]  # of the first n lanes: the cost, and where their last block begins
    for end in range(1, len(lanes) + 1):
        rows = longest = 0
        choices = []
        for begin in reversed(range(end)):
            rows, longest = rows + lanes[begin][0], max(longest, lanes[begin][1])
            choices.append((best[begin][0] + rows * longest + COST, begin))
        best.append(min(choices))
    lengths: list[int] = []
    end = len(lanes)
    while end:
        begin = best[end][1]
        lengths = [max(longest for _, longest in lanes[begin:end])] * (end - begin) + lengths
        end = begin
    return lengths
