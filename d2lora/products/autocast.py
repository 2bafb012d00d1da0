"""Autocast: a layer's inputs take autocast's type, and the library's own products and norms run with autocast off."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def as_autocast(tensor: Tensor) -> Tensor:
    """Return ``tensor`` in autocast's type for its device; unchanged if autocast is off there.

    A float64 tensor is returned unchanged, because torch's own layers leave float64 alone as well.
    """
    device = tensor.device.type
    if tensor.dtype == torch.float64 or not torch.is_autocast_enabled(device):
        return tensor
    return tensor.to(torch.get_autocast_dtype(device))


def without_autocast(tensor: Tensor) -> AbstractContextManager[object]:
    """Within: autocast is off on the device of ``tensor``, so every product keeps the types of its inputs."""
    device = tensor.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()
