"""Sum a tensor over ranks on several nodes, as ZeRO does in every step, and measure how long it takes."""

from __future__ import annotations

import time
from datetime import timedelta

from orchestrator.cluster.trainers.interface import choose_interface

REPEATS = 5
MEETING_SECONDS = 60.0


def all_reduce_seconds(rank: int, world: int, door: str, megabytes: int, gpu: bool, address: str) -> float:
    """Return the median seconds of a sum of ``megabytes`` MiB over all ranks, which meet at ``door`` (tcp://...).

    NCCL sums on GPUs, gloo on CPUs, over the interface that carries this node's ``address``. RuntimeError if a sum is
    wrong, or as torch raises it.
    """
    import torch
    from torch import distributed

    choose_interface(address)
    device = torch.device("cuda", 0) if gpu else torch.device("cpu")
    limit = timedelta(seconds=MEETING_SECONDS)
    distributed.init_process_group(
        "nccl" if gpu else "gloo", init_method=door, rank=rank, world_size=world, timeout=limit
    )
    try:
        seconds = []
        for _ in range(REPEATS + 1):  # the first connects
            values = torch.full((megabytes * 2**18,), float(rank + 1), device=device)
            distributed.barrier()
            before = time.perf_counter()
            distributed.all_reduce(values)
            if gpu:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - before)
            if not bool((values == world * (world + 1) / 2).all()):
                raise RuntimeError(f"the sum over {world} ranks is wrong on rank {rank}")
        return sorted(seconds[1:])[REPEATS // 2]
    finally:
        distributed.destroy_process_group()
