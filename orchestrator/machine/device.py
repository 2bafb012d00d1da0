"""The device of a worker: a GPU if the recipe gives each worker one, else the CPU."""

from __future__ import annotations

import torch

from orchestrator.errors import InputError


def describe_device(gpus_per_worker: float, dtype: str, there: bool) -> str:
    """Return in one line on which device and in which type this process trains.

    ``there`` is whether the machine has a GPU. If the GPU is left idle, the line says so, and which setting uses it.
    """
    if gpus_per_worker:
        return f"training on this machine's GPU in {dtype}"
    line = f"training on the CPU in {dtype}"
    if there:
        line += "; this machine's GPU is left idle: cluster.gpus_per_worker=1 uses it, in bfloat16 unless dtype says so"
    return line


def device_of(gpus_per_worker: float) -> torch.device:
    """Return the GPU of this worker if the recipe gives each worker one, else the CPU.

    A worker with a part of a GPU gets that part of its memory alone: the rest belongs to its neighbours. InputError if
    torch sees no GPU where the recipe asks for one.
    """
    if not gpus_per_worker:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InputError(
            f"cluster.gpus_per_worker={gpus_per_worker}, but torch sees no GPU here: use cluster.gpus_per_worker=0, or "
            "a torch that is built for this machine's GPU."
        )
    if gpus_per_worker < 1:
        torch.cuda.set_per_process_memory_fraction(float(gpus_per_worker))
    return torch.device("cuda")
