"""Where autocast is on, inputs take its type, and our own products and norms keep the types that they are given."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def as_autocast(tensor: Tensor) -> Tensor:
    """Return ``tensor`` in the type that autocast wants on its device, or as it is where autocast is off.

    float64 stays, as it does in torch's own layers.
    """
    device = tensor.device.type
    if tensor.dtype == torch.float64 or not torch.is_autocast_enabled(device):
        return tensor
    return tensor.to(torch.get_autocast_dtype(device))


def without_autocast(tensor: Tensor) -> AbstractContextManager[object]:
    """Within: no product on the device of ``tensor`` is cast to another type."""
    device = tensor.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()
