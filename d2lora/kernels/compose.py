"""An adapted product in half precision put together in float32 and rounded once."""

from __future__ import annotations

import torch
from torch import Tensor

from d2lora.kernels import fused
from d2lora.kernels.lane_products import Sizes, add_times_lanes, lane_runs


def compose_lanes(
    base_MO: Tensor,
    sizes: Sizes,
    update: tuple[Tensor, Tensor] | None = None,
    deviation_LO: Tensor | None = None,
    extra_MO: Tensor | None = None,
    bias_O: Tensor | None = None,
) -> Tensor:
    """Return ``v + deviation * (v - bias) + h up`` with ``v = base + extra``, of shape (M, O), in the type of ``base``.

    Everything is added up in float32 and rounded once, at the end. So a deviation of 0.1 % acts, where ``1.001 * v``
    rounded to bfloat16 is ``v``: next to 1, bfloat16 steps by 0.4 to 0.8 %. ``base`` holds the bias already, where
    there is one. ``update`` is ``h`` (M, R) and ``up`` (L, R, O), both float32, as ``deviation`` is; lane l owns
    ``sizes[l]`` consecutive rows.
    """
    if fused.available(base_MO):
        return fused.compose_lanes(base_MO, sizes, update, deviation_LO, extra_MO, bias_O)
    y_MO = base_MO.to(torch.float32)
    if extra_MO is not None:
        y_MO += extra_MO
    if deviation_LO is not None:
        scaled_MO = y_MO if bias_O is None else y_MO - bias_O
        for run in lane_runs(sizes):
            into_NTO, rows_NTO = (whole[run.rows].view(-1, run.size, whole.shape[1]) for whole in (y_MO, scaled_MO))
            torch.addcmul(into_NTO, rows_NTO, deviation_LO[run.lanes, None], out=into_NTO)
    if update is not None:
        add_times_lanes(y_MO, *update, sizes)
    return y_MO.to(base_MO.dtype)
