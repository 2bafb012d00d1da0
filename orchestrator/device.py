"""Where a worker computes: the recipe decides, and the machine only whether it can be had."""

from __future__ import annotations

import torch

from orchestrator.errors import InputError


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
