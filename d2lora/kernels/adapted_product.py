"""The adapted product in float32 or float64: one product with the frozen weight for all lanes, and its backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from d2lora.products.autocast import without_autocast
from d2lora.products.by_lane import Sizes, add_times_lanes, lane_sums, outer_lanes, scale_lanes, times_lanes
from d2lora.products.plain import times_mT
from d2lora.products.scratch import scratch_like


class AdaptedProduct(torch.autograd.Function):
    """``y = out_scale * b + h up^T + bias`` with ``b = (in_scale * x) W^T`` and ``h = x down^T``.

    Autograd's own composition would keep the scaled input, the base product b and the update of every adapted layer
    until backward. This function keeps three tensors. ``x`` is kept by reference, so layers that read the same input
    share it. ``h`` is thin: R numbers per row. ``y`` before the bias is kept only if the output scale needs a gradient,
    because b can be recovered from it; without a bias the next operation usually keeps that tensor anyway.
    """

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917, D102 - autograd takes no structures
        ctx: Any,
        x_MI: Tensor,
        weight_OI: Tensor,
        bias_O: Tensor | None,
        sizes: Sizes,
        up_LOR: Tensor,
        down_LRI: Tensor,
        out_scale_LO: Tensor | None,
        in_scale_LI: Tensor | None,
        adapter_x_MI: Tensor | None,
    ) -> Tensor:
        h_MR = times_lanes(x_MI if adapter_x_MI is None else adapter_x_MI, down_LRI.mT, sizes)
        scaled_MI = x_MI if in_scale_LI is None else scale_lanes(x_MI, in_scale_LI, sizes, scratch_like(x_MI))
        y_MO = times_mT(scaled_MI, weight_OI)
        if out_scale_LO is not None:
            scale_lanes(y_MO, out_scale_LO, sizes, y_MO)
        add_times_lanes(y_MO, h_MR, up_LOR.mT, sizes)
        ctx.sizes = sizes
        kept_MO = y_MO if ctx.needs_input_grad[6] else None
        ctx.save_for_backward(x_MI, weight_OI, up_LOR, down_LRI, out_scale_LO, in_scale_LI, adapter_x_MI, h_MR, kept_MO)
        return y_MO if bias_O is None else y_MO + bias_O

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        with without_autocast(gradients[0]):
            return _backward(ctx, gradients[0].contiguous())


def _backward(ctx: Any, dy_MO: Tensor) -> tuple[Tensor | None, ...]:
    x_MI, weight_OI, up_LOR, down_LRI, out_scale_LO, in_scale_LI, adapter_x_MI, h_MR, y_MO = ctx.saved_tensors
    sizes, needs = ctx.sizes, ctx.needs_input_grad
    dup_LRO = outer_lanes(h_MR, dy_MO, sizes)
    dh_MR = times_lanes(dy_MO, up_LOR, sizes)
    ddown_LRI = outer_lanes(dh_MR, x_MI if adapter_x_MI is None else adapter_x_MI, sizes)
    dout_LO = None
    if needs[6]:
        product_MO = torch.mul(dy_MO, y_MO, out=scratch_like(dy_MO))
        dout_LO = _scale_gradient(lane_sums(product_MO, sizes), out_scale_LO, dup_LRO, up_LOR)
    dx_MI = din_LI = None
    if needs[0] or needs[7]:
        scaled_MO = dy_MO
        if out_scale_LO is not None:
            scaled_MO = scale_lanes(dy_MO, out_scale_LO, sizes, scratch_like(dy_MO))
        dx_MI = times_mT(scaled_MO, weight_OI.mT)
        if needs[7]:
            din_LI = lane_sums(torch.mul(dx_MI, x_MI, out=scratch_like(x_MI)), sizes)
        if in_scale_LI is not None:
            scale_lanes(dx_MI, in_scale_LI, sizes, dx_MI)
    dadapter_MI = None
    if adapter_x_MI is not None:
        dadapter_MI = times_lanes(dh_MR, down_LRI, sizes) if needs[8] else None
    elif needs[0]:
        assert dx_MI is not None  # noqa: S101 - made above
        add_times_lanes(dx_MI, dh_MR, down_LRI, sizes)
    return dx_MI, None, dy_MO.sum(0) if needs[2] else None, None, dup_LRO.mT, ddown_LRI, dout_LO, din_LI, dadapter_MI


def _scale_gradient(dy_y_LO: Tensor, out_scale_LO: Tensor, dup_LRO: Tensor, up_LOR: Tensor) -> Tensor:
    """Return the gradient of the output scale, ``sum_N dy * b`` of shape (L, O), from ``dy_y = sum_N dy * y``.

    ``y = out_scale * b + h up^T``, so ``sum_N dy * b = (dy_y - sum_N dy * (h up^T)) / out_scale``. The last sum needs
    no rows: it is ``sum_R up * dup``, where dup is the gradient of ``up``. Where a scale is exactly zero the gradient
    is set to zero: DoRA's scale is zero for a row of W that is zero, and there b is zero too.
    """
    update_LO = (dup_LRO.mT * up_LOR).sum(2)
    return ((dy_y_LO - update_LO) / out_scale_LO).masked_fill_(out_scale_LO == 0, 0.0)
