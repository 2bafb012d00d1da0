"""One reused buffer per thread for large temporaries on CPUs, where fresh memory costs more than the arithmetic."""

from __future__ import annotations

import threading

import torch
from torch import Tensor


class _Buffers(threading.local):
    """The buffers of one thread, by type."""

    def __init__(self) -> None:
        self.by_dtype: dict[torch.dtype, Tensor] = {}


_buffers = _Buffers()


def scratch_like(tensor: Tensor) -> Tensor:
    """Return an uninitialised contiguous tensor of the shape and type of ``tensor``.

    On a CPU every call of a thread returns the same memory, so the result is valid until the thread's next call. On
    other devices, and under torch.compile, the result is a new tensor: there the allocator reuses freed memory itself.
    """
    if tensor.device.type != "cpu" or torch.compiler.is_compiling():
        return torch.empty_like(tensor, memory_format=torch.contiguous_format)
    buffer = _buffers.by_dtype.get(tensor.dtype)
    if buffer is None or buffer.numel() < tensor.numel():
        with torch.inference_mode(False):  # training could not write to a buffer made in inference mode
            buffer = _buffers.by_dtype[tensor.dtype] = torch.empty(tensor.numel(), dtype=tensor.dtype)
    return buffer[: tensor.numel()].view(tensor.shape)
