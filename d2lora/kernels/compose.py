"""Adds up the parts of a half-precision output in float32 and rounds the sum once: in torch, or by the fused kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from d2lora.kernels import fused
from d2lora.kernels.composition import Composition
from d2lora.products.by_lane import add_times_lanes, lane_runs


def compose_lanes(parts: Composition) -> Tensor:
    """Return ``v + deviation * (v - bias) + h up`` with ``v = base + extra``, of shape (M, O), in the type of ``base``.

    The sum is computed in float32 and rounded once, at the end. So a deviation of 0.1 % acts. If the scale 1.001 were
    rounded to bfloat16 first it would be 1, because bfloat16 steps by 0.4 to 0.8 % next to 1.
    """
    if fused.available(parts.base_MO):
        return fused.compose_lanes(parts)
    y_MO = parts.base_MO.to(torch.float32)
    if parts.extra_MO is not None:
        y_MO += parts.extra_MO
    if parts.deviation_LO is not None:
        scaled_MO = y_MO if parts.bias_O is None else y_MO - parts.bias_O
        for run in lane_runs(parts.sizes):
            into_NTO = run.by_lane(y_MO)
            torch.addcmul(into_NTO, run.by_lane(scaled_MO), parts.deviation_LO[run.lanes, None], out=into_NTO)
    if parts.update is not None:
        add_times_lanes(y_MO, *parts.update, parts.sizes)
    return y_MO.to(parts.base_MO.dtype)
