"""The process group of an engine: the launcher's, or else a group of this process alone."""

from __future__ import annotations

import os

import torch


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
