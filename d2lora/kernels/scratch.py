"""One buffer for large temporaries on CPUs, where fresh pages cost more than the arithmetic that is done in them."""

from __future__ import annotations

import threading

import torch
from torch import Tensor


class _Buffers(threading.local):
    """A thread's buffers, by type."""

    def __init__(self) -> None:
        self.by_dtype: dict[torch.dtype, Tensor] = {}


_buffers = _Buffers()


def scratch_like(tensor: Tensor) -> Tensor:
    """Return an uninitialised contiguous tensor of the shape and type of ``tensor``.

    On a CPU it is good until the next call from the same thread, for it is the same memory each time; elsewhere the
    device's own allocator keeps what is freed, and it is a new tensor.
    """
    if tensor.device.type != "cpu" or torch.compiler.is_compiling():
        return torch.empty_like(tensor, memory_format=torch.contiguous_format)
    buffer = _buffers.by_dtype.get(tensor.dtype)
    if buffer is None or buffer.numel() < tensor.numel():
        with torch.inference_mode(False):  # or it could not be written to in training
            buffer = _buffers.by_dtype[tensor.dtype] = torch.empty(tensor.numel(), dtype=tensor.dtype)
    return buffer[: tensor.numel()].view(tensor.shape)
