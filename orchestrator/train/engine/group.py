"""The process group of an engine: the launcher's, or else a group of this process alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar, cast

import torch

T = TypeVar("T")


def join_group(device: torch.device) -> None:
    """Make a process group of this process alone, unless a launcher has already made the group of all ranks."""
    if torch.distributed.is_initialized():
        return
    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1")  # other values are leftovers of another launcher
    store = torch.distributed.HashStore()  # type: ignore[attr-defined]
    torch.distributed.init_process_group(backend_of(device), store=store, rank=0, world_size=1)


def backend_of(device: torch.device) -> str:
    """Return the backend for tensors on ``device``: NCCL on a GPU, because gloo cannot scatter a GPU's tensors."""
    return "nccl" if device.type == "cuda" else "gloo"


def own_rank() -> int:
    """Return the rank of this process in the group of its launcher; 0 without a group."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def from_rank_0(compute: Callable[[], T]) -> T:
    """Call ``compute`` on rank 0 alone and return its result on every rank; every rank calls this function."""
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return compute()
    values = [compute() if own_rank() == 0 else None]
    torch.distributed.broadcast_object_list(values, src=0)
    return cast(T, values[0])
