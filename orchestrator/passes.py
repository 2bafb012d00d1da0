"""Pure: which lanes of a pack go through the model together: as many as fill the device, for more only cost memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

PASS_VALUES = {"cpu": 3 * 2**17, "cuda": 2**27}
"""Numbers in one hidden state of a pass, tokens times hidden size, by kind of device.

There matrix products are as fast as they get; on a CPU a tensor of a pass, 1.5 MB, stays in its cache.
"""


def pass_tokens(wanted: int | str, device: str, hidden: int) -> int:
    """Return how many tokens a pass holds at most: as the recipe says, or what suits the device."""
    return PASS_VALUES.get(device, PASS_VALUES["cuda"]) // hidden if wanted == "auto" else int(wanted)


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
