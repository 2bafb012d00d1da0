"""Where a worker computes: the recipe decides, and the machine only whether it can be had."""

from __future__ import annotations

import torch

from orchestrator.errors import InputError


def told_device(gpus_per_worker: int, dtype: str, there: bool) -> str:
    """Return in one line where this process trains and in which type, and a GPU that is ``there`` and left idle."""
    if gpus_per_worker:
        return f"training on this machine's GPU in {dtype}"
    line = f"training on the CPU in {dtype}"
    if there:
        line += "; this machine's GPU is left idle: cluster.gpus_per_worker=1 uses it, in bfloat16 unless dtype says so"
    return line


def device_of(gpus_per_worker: int) -> torch.device:
    """Return this worker's GPU if the recipe gives it one, else the CPU; InputError where there is none to be had."""
    if not gpus_per_worker:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InputError(
            f"cluster.gpus_per_worker={gpus_per_worker}, but torch sees no GPU here: use cluster.gpus_per_worker=0, or "
            "a torch that is built for this machine's GPU."
        )
    return torch.device("cuda")
