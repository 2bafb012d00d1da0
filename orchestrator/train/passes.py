"""Pure: which lanes of a pack go through the model together: as many as fill the device, for more only cost memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

CPU_VALUES = 3 * 2**17
"""Numbers in one hidden state of a pass on a CPU, tokens times hidden size.

A tensor of a pass, 1.5 MB, stays in its cache, and matrix products are as fast as they get.
"""
GPU_VALUES = 2**27  # the most on a GPU: beyond it products are no faster, and what is in flight only costs memory
FIRST_TOKENS = 2048  # of a pass on a GPU before one was measured
FILLED = 0.8  # of a GPU's free memory that passes may take: lanes of other lengths come later


def pass_tokens(
    wanted: int | str, device: str, hidden: int, bytes_per_token: float | None = None, free: int = 0
) -> int:
    """Return how many tokens a pass holds at most: as the recipe says, or what suits the device.

    On a GPU memory decides: ``bytes_per_token`` is what a pass was measured to need, and ``free`` what there is.
    """
    if wanted != "auto":
        return int(wanted)
    if device == "cpu":
        return CPU_VALUES // hidden
    if bytes_per_token is None:
        return FIRST_TOKENS
    return max(1, min(GPU_VALUES // hidden, int(FILLED * free / max(bytes_per_token, 1.0))))


def split_into_passes(tokens: Mapping[int, int], most: int) -> list[list[int]]:
    """Return lanes, in order, in passes of at most ``most`` tokens; ``tokens[lane]`` is what a lane brings.

    They are as few as can be, and among such cuts one whose largest pass is smallest, which makes most passes about
    equal. A lane is never split: one with more tokens has a pass of its own.
    """
    fewest = len(_filled(tokens, most))
    smallest = 1 + bisect_left(range(1, most), True, key=lambda size: len(_filled(tokens, size)) <= fewest)
    return _filled(tokens, smallest)


def _filled(tokens: Mapping[int, int], most: int) -> list[list[int]]:
    """Return the lanes in passes that are full, but for the last."""
    passes: list[list[int]] = []
    held = 0
    for lane, count in tokens.items():
        if not passes or held + count > most:
            passes.append([])
            held = 0
        passes[-1].append(lane)
        held += count
    return passes


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
