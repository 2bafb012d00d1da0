"""Pure: the padded length of each lane's rows, if the rows of one pass may be padded to several lengths.

Neighbouring lanes whose rows are padded to one length are a block. More blocks mean less padding and more calls.
"""

from __future__ import annotations

from collections.abc import Sequence

COST = 16
"""The cost of one more block, in tokens: in each layer its calls take about as long as the products of 16 tokens."""


def padded_lengths(lanes: Sequence[tuple[int, int]]) -> list[int]:
    """Return the padded length of each lane; ``lanes`` are (rows, tokens of the longest row), in order.

    Of all ways to cut the lanes into blocks of neighbours, the cheapest (positions, and `COST` per block) is found by
    dynamic programming.
    """
    cheapest: list[tuple[int, int]] = [(0, 0)]  # per n: cost of the first n lanes, and where their last block begins
    for end in range(1, len(lanes) + 1):
        rows = longest = 0
        choices = []
        for begin in reversed(range(end)):
            rows, longest = rows + lanes[begin][0], max(longest, lanes[begin][1])
            choices.append((cheapest[begin][0] + rows * longest + COST, begin))
        cheapest.append(min(choices))
    lengths: list[int] = []
    end = len(lanes)
    while end:
        begin = cheapest[end][1]
        lengths = [max(longest for _, longest in lanes[begin:end])] * (end - begin) + lengths
        end = begin
    return lengths
