"""Dropout by counter: whether a number is dropped is a function of its position, without a generator or a state.

The mask of a row comes from a stream of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014). The seed of the stream is the row's key XOR the layer's salt. The row's key is made of the
lane's seed, the optimizer step and the row's place in the lane's global batch. The salt is made of the layer's name.

The feature f of the token at position p is decided by the number ``p * ceil(I / 2) + f // 2`` of the stream. That
number has 64 bits: its low half decides an even feature, its high half an odd one. A half drops its feature if, read
as a signed 32-bit number, it is below ``rate * 2**32 - 2**31``.

So a mask does not depend on micro batches, ranks, packs, passes or padding. It is the same on every device, because
64-bit integers overflow alike on all of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from math import prod

import torch
from torch import Tensor

from d2lora.device_profile import profile_of

GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""SplitMix64's constants: the step of its counter, and the two factors of its finaliser."""
ALL = 2**64 - 1

Extent = tuple[int, int]
"""How many rows a lane has, and how many tokens each row has."""


def row_key(seed: int, step: int, place: int) -> int:
    """Return the 64-bit key of one row: the row at ``place`` of the global batch of the lane drawn from ``seed``.

    >>> hex(row_key(seed=0, step=0, place=0))
    '0x238275bc38fcbe91'
    """
    key = 0
    for part in (seed, step, place):
        key = _mixed(((key ^ part) + GOLDEN) & ALL)
    return key


def layer_salt(name: str) -> int:
    """Return a signed 64-bit number made of a layer's name, by which layers with the same rows get different masks."""
    return _signed(_mixed(zlib.crc32(name.encode()) + GOLDEN))


def keys_tensor(keys: Iterable[int], device: torch.device) -> Tensor:
    """Return the keys as a tensor of shape (B,) in int64, with the same bits; the copy to a GPU is asynchronous."""
    keys_B = torch.tensor([_signed(key) for key in keys], dtype=torch.int64)
    return keys_B.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else keys_B.to(device)


def dropped(x_MI: Tensor, rates: Sequence[float], extents: Sequence[Extent], keys_B: Tensor) -> Tensor:
    """Return ``x_MI`` after dropout, of the same shape; lane l drops with the probability ``rates[l]``.

    ``extents[l]`` is how many rows lane l has and how many tokens each row has; M counts all tokens, lane after lane.
    ``keys_B`` holds the key of each row, in the same order. Features that are kept are divided by ``1 - rate``.
    Backward keeps the mask: one byte per number of ``x_MI``.
    """
    parts, row, token = [], 0, 0
    for rate, lanes in _runs(rates, extents):
        end = token + sum(prod(extent) for extent in lanes)
        part_MI = x_MI[token:end]
        if rate and end > token:
            keys_M = torch.cat(_token_keys(keys_B, row, lanes, x_MI.shape[1]))
            part_MI = part_MI * keep_mask(keys_M, x_MI.shape[1], rate) * (1 / (1 - rate))
        parts.append(part_MI)
        row, token = row + sum(count for count, _ in lanes), end
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def keep_mask(keys_M: Tensor, features: int, rate: float) -> Tensor:
    """Return which features of each token are kept, of shape (M, I), in bool.

    ``keys_M`` holds each token's position in the stream of its row (`_token_keys`); ``features`` is I.
    """
    words = -(-features // 2)
    steps_W = torch.arange(1, words + 1, device=keys_M.device) * _signed(GOLDEN)
    bound = min(round(rate * 2**32), 2**32 - 1) - 2**31
    size = profile_of(keys_M.device).dropout_words // words
    if torch.compiler.is_compiling():  # the compiler fuses all of this into one kernel, so no slice is ever in memory
        size = keys_M.shape[0]
    masks = [
        _mixed_tensor(part_m[:, None] + steps_W).view(torch.int32)[:, :features] >= bound
        for part_m in torch.split(keys_M, max(1, size))
    ]
    return masks[0] if len(masks) == 1 else torch.cat(masks)


def _token_keys(keys_B: Tensor, row: int, lanes: Sequence[Extent], features: int) -> list[Tensor]:
    """Return, per lane, the position of each token in the stream of its row; the first lane's first row is ``row``."""
    stride = _signed(-(-features // 2) * GOLDEN & ALL)
    keys = []
    for count, length in lanes:
        positions_T = torch.arange(length, device=keys_B.device) * stride
        keys.append((keys_B[row : row + count, None] + positions_T).flatten())
        row += count
    return keys


def _runs(rates: Sequence[float], extents: Sequence[Extent]) -> list[tuple[float, list[Extent]]]:
    """Return neighbouring lanes with equal rates as one run; a lane without tokens joins any run."""
    runs: list[tuple[float, list[Extent]]] = []
    for rate, extent in zip(rates, extents, strict=True):
        if runs and (runs[-1][0] == rate or not prod(extent)):
            runs[-1][1].append(extent)
        else:
            runs.append((rate, [extent]))
    return runs


def _mixed(value: int) -> int:
    """Return SplitMix64's finaliser of a number below 2**64, in Python integers; `_mixed_tensor` computes the same."""
    value = (value ^ value >> 30) * FIRST & ALL
    value = (value ^ value >> 27) * SECOND & ALL
    return value ^ value >> 31


def _mixed_tensor(value: Tensor) -> Tensor:
    """Return `_mixed` of each number of an int64 tensor, in place.

    A right shift of a negative int64 fills the top bits with ones. The bit masks set these bits back to zero, as the
    shift of an unsigned number would leave them.
    """
    value ^= (value >> 30) & (2**34 - 1)
    value *= _signed(FIRST)
    value ^= (value >> 27) & (2**37 - 1)
    value *= _signed(SECOND)
    value ^= (value >> 31) & (2**33 - 1)
    return value


def _signed(value: int) -> int:
    """Return the int64 number that has the bits of ``value``, a number below 2**64."""
    return value - 2**64 if value >= 2**63 else value
