"""ZeRO at stages 0 to 3 on one rank, against the plain engine: time of a step, losses, and trained adapters."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

import d2lora
from benchmarks.gpu.arms import apart, engine_of, forget, items_of, lane, model_of, optim_of, spread, train, vector_of
from benchmarks.gpu.report import Rows
from benchmarks.gpu.scale import Scale
from benchmarks.models import TARGETS


def rows(scale: Scale) -> Rows:
    """Yield a row for the plain engine and per stage of ZeRO, in float32 and in bfloat16."""
    for name, dtype in {"float32": torch.float32, "bfloat16": torch.bfloat16}.items():
        plain, plain_vectors = _trained(scale, dtype, None)
        yield {"type": name, "engine": "plain", **spread(plain.step_ms), "last loss": plain.losses[0][-1]}
        for stage in range(4):
            story, vectors = _trained(scale, dtype, stage)
            pairs = zip(vectors, plain_vectors, strict=True)
            losses = zip(story.losses[0], plain.losses[0], strict=True)
            yield {
                "type": name,
                "engine": f"ZeRO-{stage}",
                **spread(story.step_ms),
                "last loss": story.losses[0][-1],
                "largest relative loss difference": max(abs(one - other) / abs(other) for one, other in losses),
                "adapters apart": max(apart(one, other) for one, other in pairs),
            }


def _trained(scale: Scale, dtype: torch.dtype, stage: int | None) -> tuple[Any, list[Tensor]]:
    """Train the lanes; return their losses and times, and each lane's trained numbers as a vector."""
    lanes = [lane(seed) for seed in range(scale.small_lanes)]
    model = model_of(scale, scale.small.hidden, layers=scale.small_layers, dtype=dtype)
    optim = optim_of(scale.small.rows)
    engine = engine_of(model, lanes, optim, scale.device) if stage is None else zero_engine(model, lanes, scale, stage)
    items = items_of(scale, scale.small.rows, scale.steps, scale.small_length)
    try:
        story = train(engine, items, range(len(lanes)), optim)
        vectors = [vector_of(model, index) for index in range(len(lanes))]
    finally:
        engine.close()
    del engine, model
    forget()
    return story, vectors


def zero_engine(model: Any, lanes: list[d2lora.Lane], scale: Scale, stage: int, rows: int | None = None) -> Any:
    """Put lanes on the model; return a ZeRO engine at ``stage``, in a process group of this process alone."""
    from orchestrator.train.engine.zero import ZeroEngine

    one_rank(scale.device)
    d2lora.attach_lanes(model, lanes, TARGETS)
    return ZeroEngine(model, len(lanes), optim_of(rows or scale.small.rows), scale.device, stage)


def one_rank(device: torch.device) -> None:
    """Make a process group of this process alone if there is none: nccl on GPUs, as gloo gathers no CUDA tensors."""
    if torch.distributed.is_initialized():
        return
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")  # a machine may have no other network interface
    kind = "nccl" if device.type == "cuda" else "gloo"
    torch.distributed.init_process_group(kind, store=torch.distributed.HashStore(), rank=0, world_size=1)
