"""A process group for an engine of ranks: a launcher's, or one of this process alone, that suits the device."""

from __future__ import annotations

import os

import torch


def join_group(device: torch.device) -> None:
    """Make sure of a process group: a launcher has made it, or this process is alone.

    gloo has no collectives that scatter tensors of a GPU, so there the group is NCCL's.
    """
    if torch.distributed.is_initialized():
        return
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}.items():
        os.environ.setdefault(name, value)
    store = torch.distributed.HashStore()  # type: ignore[attr-defined]
    torch.distributed.init_process_group(backend_of(device), store=store, rank=0, world_size=1)


def backend_of(device: torch.device) -> str:
    """Return the backend whose collectives work on tensors of ``device``."""
    return "nccl" if device.type == "cuda" else "gloo"
