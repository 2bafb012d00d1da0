"""How much work is done at once on each kind of device: these sizes change speed and memory, never a result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Profile:
    """The sizes that suit one kind of device.

    built_together  adapters with at most this many trained numbers get their thin factors in one set of operations
    slice_bytes     size of the slice in which a half-precision weight is converted to float32; at most two slices are
                    in memory at a time
    dropout_words   64-bit numbers of the dropout stream that are drawn at once
    split_from      a layer's input with at least this many bfloat16 numbers is multiplied on tensor cores, with each
                    float32 factor split into two bfloat16 tensors. A smaller input is converted to float32 instead,
                    because that takes half as many operations.
    """

    built_together: int
    slice_bytes: int
    dropout_words: int
    split_from: int


CPU = Profile(built_together=2**17, slice_bytes=16 * 2**20, dropout_words=2**15, split_from=0)
"""Measured on two cores: work of these sizes stays in their caches."""
GPU = Profile(built_together=2**24, slice_bytes=256 * 2**20, dropout_words=2**22, split_from=2**24)
"""A kernel launch takes the host about 10 us (docs/results.md), so a launch does as much work as memory allows."""
PROFILES = {"cpu": CPU}


def profile_of(device: torch.device) -> Profile:
    """Return the sizes that suit ``device``; every kind of device that is not in `PROFILES` counts as a GPU."""
    return PROFILES.get(device.type, GPU)
