"""Damaged copies of a file, drawn by a seed, and what a loader makes of each: refused, loaded right or wrong."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from torch import Tensor

Load = Callable[[bytes], Mapping[str, Tensor]]
REFUSED, RIGHT, RENAMED, WRONG = "refused", "loaded right", "loaded under other names", "loaded wrong"


def flips(content: bytes, times: int, seed: int) -> Iterator[bytes]:
    """Yield copies in which one bit is flipped, another bit each time."""
    for place in _drawn(seed).sample(range(8 * len(content)), times):
        yield flipped(content, place)


def zero_tails(content: bytes, times: int, seed: int) -> Iterator[bytes]:
    """Yield copies of the same length whose end, from a drawn byte on, is zeros."""
    for place in _drawn(seed).sample(range(len(content) - 1), times):
        yield content[:place] + bytes(len(content) - place)


def truncations(content: bytes, times: int, seed: int) -> Iterator[bytes]:
    """Yield copies that end at a drawn byte."""
    for place in _drawn(seed).sample(range(len(content)), times):
        yield content[:place]


DAMAGES = {"one bit flipped": flips, "a tail of zeros": zero_tails, "cut off": truncations}


def _drawn(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 (draws places of damage, no secrets)


def flipped(content: bytes, place: int) -> bytes:
    """Return a copy with the bit of this number flipped."""
    changed = bytearray(content)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def outcomes(load: Load, content: bytes, damaged: Iterator[bytes]) -> Counter[str]:
    """Return how many of the damaged copies of ``content`` had each outcome."""
    whole = load(content)
    return Counter(_outcome(load, whole, copy) for copy in damaged)


def _outcome(load: Load, whole: Mapping[str, Tensor], copy: bytes) -> str:
    try:
        tensors = load(copy)
        if tensors.keys() != whole.keys():
            return RENAMED
        same = all(_equal(tensors[name], whole[name]) for name in whole)
    except Exception:  # any error at all is a refusal: the peer gets the benefit of the doubt
        return REFUSED
    return RIGHT if same else WRONG


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether type, shape and bits agree; -0 is not 0, and the same NaN is the same."""
    return one.dtype == other.dtype and one.shape == other.shape and _bits(one) == _bits(other)


def _bits(tensor: Tensor) -> bytes:
    content: bytes = tensor.contiguous().numpy().tobytes()
    return content
