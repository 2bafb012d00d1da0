"""Dropout by counter: a mask is a function of where a number stands, so it needs no generator and no state.

The mask of a row is a stream of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014). The seed of the stream is the row's key, exclusive-or the layer's salt. The key is made of the lane's
seed, the optimizer step and the row's place in the lane's global batch. Number n = position * ceil(I / 2) + feature
// 2 of the stream has 64 bits: its low half decides about an even feature, its high half about an odd one. Read as a
signed number, a half below ``rate * 2**32 - 2**31`` drops its feature.

So a mask knows nothing of micro batches, ranks, packs, passes and padding, and is the same on every device: 64-bit
integers wrap around everywhere alike.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from math import prod

import torch
from torch import Tensor

from d2lora.kernels.device_profile import profile_of

GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""SplitMix64's constants: the step of its counter, and the two factors of its finaliser."""
ALL = 2**64 - 1

Extent = tuple[int, int]
"""How many rows a lane has, and how many places each of them."""


def row_key(seed: int, step: int, place: int) -> int:
    """Return the 64-bit key of the row at ``place`` of a lane's global batch, at an optimizer step.

    >>> hex(row_key(seed=0, step=0, place=0))
    '0x238275bc38fcbe91'
    """
    key = 0
    for part in (seed, step, place):
        key = _mixed(((key ^ part) + GOLDEN) & ALL)
    return key


def layer_salt(name: str) -> int:
    """Return what tells a layer's masks from those of other layers: a signed 64-bit number made of its name."""
    return _signed(_mixed(zlib.crc32(name.encode()) + GOLDEN))


def keys_tensor(keys: Iterable[int], device: torch.device) -> Tensor:
    """Return keys as a tensor (B,) of int64 on ``device``, with the same bits; a GPU does not wait for them."""
    keys_B = torch.tensor([_signed(key) for key in keys], dtype=torch.int64)
    return keys_B.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else keys_B.to(device)


def dropped(x_MI: Tensor, rates: Sequence[float], extents: Sequence[Extent], keys_B: Tensor) -> Tensor:
    """Return ``x_MI`` after dropout: lane l has the next ``extents[l]`` rows and places, and drops at ``rates[l]``.

    ``keys_B`` are the keys of all rows, lane after lane. What is kept is divided by the share that is kept. Backward
    keeps the mask, a byte an element.
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
    """Return which features of tokens are kept, of shape (M, I), in bool; ``keys_M`` is where their streams stand."""
    words = -(-features // 2)
    steps_W = torch.arange(1, words + 1, device=keys_M.device) * _signed(GOLDEN)
    bound = min(round(rate * 2**32), 2**32 - 1) - 2**31
    size = profile_of(keys_M.device).dropout_words // words
    if torch.compiler.is_compiling():  # the compiler makes one kernel of it all, which holds nothing
        size = keys_M.shape[0]
    masks = [
        _mixed_tensor(part_m[:, None] + steps_W).view(torch.int32)[:, :features] >= bound
        for part_m in torch.split(keys_M, max(1, size))
    ]
    return masks[0] if len(masks) == 1 else torch.cat(masks)


def _token_keys(keys_B: Tensor, row: int, lanes: Sequence[Extent], features: int) -> list[Tensor]:
    """Return where the streams of each lane's tokens stand, flat; the lanes' rows begin at ``row``."""
    stride = _signed(-(-features // 2) * GOLDEN & ALL)
    keys = []
    for count, length in lanes:
        places_T = torch.arange(length, device=keys_B.device) * stride
        keys.append((keys_B[row : row + count, None] + places_T).flatten())
        row += count
    return keys


def _runs(rates: Sequence[float], extents: Sequence[Extent]) -> list[tuple[float, list[Extent]]]:
    """Return neighbouring lanes of equal rate together; lanes without tokens are of any rate."""
    runs: list[tuple[float, list[Extent]]] = []
    for rate, extent in zip(rates, extents, strict=True):
        if runs and (runs[-1][0] == rate or not prod(extent)):
            runs[-1][1].append(extent)
        else:
            runs.append((rate, [extent]))
    return runs


def _mixed(value: int) -> int:
    """Return SplitMix64's finaliser of a number below 2**64: the definition, which `_mixed_tensor` follows."""
    value = (value ^ value >> 30) * FIRST & ALL
    value = (value ^ value >> 27) * SECOND & ALL
    return value ^ value >> 31


def _mixed_tensor(value: Tensor) -> Tensor:
    """Return `_mixed` of each number, in place; a shift of int64 repeats the sign, and the mask takes it away."""
    value ^= (value >> 30) & (2**34 - 1)
    value *= _signed(FIRST)
    value ^= (value >> 27) & (2**37 - 1)
    value *= _signed(SECOND)
    value ^= (value >> 31) & (2**33 - 1)
    return value


def _signed(value: int) -> int:
    """Return the number of int64 with the bits of ``value``, which is below 2**64."""
    return value - 2**64 if value >= 2**63 else value
