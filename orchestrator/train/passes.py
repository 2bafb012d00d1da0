"""Pure: how many tokens a pass holds, and which lanes of a pack go through the model in it together."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

CPU_VALUES = 3 * 2**17
"""The size of one hidden state of a pass on a CPU: tokens times hidden size.

A float32 tensor of this size has 1.5 MB, which stays in the CPU's cache. Larger matrix products are no faster.
"""
GPU_VALUES = 2**27
"""The largest hidden state of a pass on a GPU: larger products are no faster, and larger activations cost memory."""
FIRST_TOKENS = 2048
"""The tokens of a pass on a GPU before the memory of a pass has been measured."""
FILLED = 0.8
"""The share of a GPU's free memory that a pass may take. The rest is for passes of later steps with longer rows."""


def pass_tokens(
    wanted: int | str, device: str, hidden: int, bytes_per_token: float | None = None, free: int = 0
) -> int:
    """Return how many tokens a pass holds at most: the recipe's number, or for "auto" a number that suits the device.

    On a GPU memory decides: ``bytes_per_token`` is the measured memory of a pass per token, and ``free`` the number of
    free bytes. ``hidden`` is the model's hidden size.
    """
    if wanted != "auto":
        return int(wanted)
    if device == "cpu":
        return CPU_VALUES // hidden
    if bytes_per_token is None:
        return FIRST_TOKENS
    return max(1, min(GPU_VALUES // hidden, int(FILLED * free / max(bytes_per_token, 1.0))))


def split_into_passes(tokens: Mapping[int, int], most: int) -> list[list[int]]:
    """Return the lanes of each pass, in order; ``tokens[lane]`` is a lane's number of tokens, ``most`` a pass's limit.

    There are as few passes as possible. Of the cuts into this number of passes the cut with the smallest largest pass
    is taken, which makes passes about equal. A lane is never split: a lane with more than ``most`` tokens has a pass of
    its own.
    """
    fewest = len(_filled(tokens, most))
    smallest = 1 + bisect_left(range(1, most), True, key=lambda size: len(_filled(tokens, size)) <= fewest)
    return _filled(tokens, smallest)


def _filled(tokens: Mapping[int, int], most: int) -> list[list[int]]:
    """Return the lanes of each pass, if every pass takes as many lanes as fit before the next pass begins."""
    passes: list[list[int]] = []
    filled = 0
    for lane, count in tokens.items():
        if not passes or filled + count > most:
            passes.append([])
            filled = 0
        passes[-1].append(lane)
        filled += count
    return passes
