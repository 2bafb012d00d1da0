"""Sizes that suit a kind of device: how much is done at once. They change speed and memory, never results' meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Profile:
    """``built_together``: trained numbers whose factors are built at once; few small operations cost as much as one.

    ``slice_bytes``: of a weight of half precision that is widened at once; two such slices at most are held.
    ``dropout_words``: 64-bit numbers of the dropout stream that are made at once. ``split_from``: bfloat16 numbers of a
    layer's rows from which thin products split float32 factors for tensor cores; fewer rows are widened, which takes
    half of the operations.
    """

    built_together: int
    slice_bytes: int
    dropout_words: int
    split_from: int


CPU = Profile(built_together=2**17, slice_bytes=16 * 2**20, dropout_words=2**15, split_from=0)
"""Measured on two cores: what is done at once stays in their caches."""
GPU = Profile(built_together=2**24, slice_bytes=256 * 2**20, dropout_words=2**22, split_from=2**24)
"""A launch costs some 10 us of the host's time (docs/results.md), so as much as memory allows is done at once."""
PROFILES = {"cpu": CPU}


def profile_of(device: torch.device) -> Profile:
    """Return the sizes that suit ``device``: those of a GPU for every kind that is not listed."""
    return PROFILES.get(device.type, GPU)
