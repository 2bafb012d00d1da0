"""Move the tensors of a step's passes to the device with two copies, however many passes there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from orchestrator.train.step_passes import StepPass


def passes_on(device: torch.device, passes: Sequence[StepPass]) -> list[StepPass]:
    """Return the passes with their tensors on ``device``: one copy moves all indices, another moves all weights."""
    if device.type == "cpu":
        return list(passes)
    indices = iter(_moved([tensor for step_pass in passes for tensor in _indices(step_pass)], device))
    weights = iter(_moved([weight for each in passes for weight in (each.weight_L, each.counted_L)], device))
    moved = []
    for step_pass in passes:
        there = replace(step_pass.token_batch, ids_BT=next(indices), where_A=next(indices), wanted_A=next(indices))
        lane_A = next(indices)
        if there.positions_BT is not None:
            there = replace(there, positions_BT=next(indices))
        weight_L, counted_L = next(weights), next(weights)
        moved.append(replace(step_pass, token_batch=there, lane_A=lane_A, weight_L=weight_L, counted_L=counted_L))
    return moved


def _indices(step_pass: StepPass) -> list[Tensor]:
    """Return the integer tensors of a pass, in the order in which `passes_on` reads them back."""
    here = step_pass.token_batch
    optional = [] if here.positions_BT is None else [here.positions_BT]
    return [here.ids_BT, here.where_A, here.wanted_A, step_pass.lane_A, *optional]


def _moved(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Return tensors of one type on ``device``, as views of one copy; the host does not wait for a GPU."""
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    if device.type == "cuda":
        flat = flat.pin_memory()
    parts = torch.split(flat.to(device, non_blocking=True), [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]
