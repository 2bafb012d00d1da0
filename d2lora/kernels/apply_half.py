"""The fast form over half-precision activations: thin parts in float32, and one rounding of each result.

Types: ``x``, ``W``, ``y`` and their gradients are bfloat16 or float16; factors, scales, ``h`` and their gradients are
float32. A scale acts by its deviation from 1 (`d2lora.compose`), because ``1.001 * b`` rounded to bfloat16 is ``b``.
docs/precision.md lists the type of every tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from d2lora.kernels.autocast import without_autocast
from d2lora.kernels.compose import compose_lanes
from d2lora.kernels.frozen import refuse_trained_weight
from d2lora.kernels.lane_products import Sizes, scale_lanes, times_lanes
from d2lora.kernels.products import times_mT
from d2lora.kernels.scratch import scratch_like
from d2lora.kernels.wide_lanes import dot_lanes, outer_wide_lanes, times_wide_lanes, widened


class AdaptedHalf(torch.autograd.Function):
    """``y = out_scale * b + h up^T + bias`` with ``b = (in_scale * x) W^T`` and ``h = x down^T``; keeps x, h and b.

    Backward: ``dx = in_scale * g + dy up down`` with ``g = (out_scale * dy) W``. A product of a scaled input with W is
    two products with W, one of the input and one of its small change: rounded as one, the change would be lost.
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
        h_MR = times_wide_lanes(x_MI if adapter_x_MI is None else adapter_x_MI, down_LRI.mT, sizes)
        base_MO = times_mT(x_MI, weight_OI) if bias_O is None else linear(x_MI, weight_OI, bias_O)
        out_deviation_LO, in_deviation_LI = (None if one is None else one - 1 for one in (out_scale_LO, in_scale_LI))
        extra_MO = _product_of_change(x_MI, in_deviation_LI, weight_OI, sizes)
        y_MO = compose_lanes(base_MO, sizes, (h_MR, up_LOR.mT), out_deviation_LO, extra_MO, bias_O)
        ctx.sizes = sizes
        kept: tuple[Tensor | None, Tensor | None] = (None, None)
        if ctx.needs_input_grad[6]:  # the product without the bias, beside which a large bias would leave noise
            kept = base_MO if bias_O is None else times_mT(x_MI, weight_OI), extra_MO
        refuse_trained_weight(ctx)
        deviations = out_deviation_LO, in_deviation_LI
        ctx.save_for_backward(x_MI, weight_OI, up_LOR, down_LRI, *deviations, adapter_x_MI, h_MR, *kept)
        return y_MO

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        with without_autocast(gradients[0]):
            return _backward(ctx, gradients[0].contiguous())


def _backward(ctx: Any, dy_MO: Tensor) -> tuple[Tensor | None, ...]:
    x_MI, weight_OI, up_LOR, down_LRI, out_deviation_LO, in_deviation_LI, adapter_x_MI, h_MR, *kept = ctx.saved_tensors
    sizes, needs = ctx.sizes, ctx.needs_input_grad
    wide_dy_MO = widened(dy_MO)
    dup_LRO = outer_wide_lanes(h_MR, wide_dy_MO, sizes)
    dh_MR = times_wide_lanes(wide_dy_MO, up_LOR, sizes)
    ddown_LRI = outer_wide_lanes(dh_MR, x_MI if adapter_x_MI is None else adapter_x_MI, sizes)
    dout_LO = _dot(wide_dy_MO, kept, sizes) if needs[6] else None
    dbias_O = dy_MO.sum(0) if needs[2] else None
    dx_MI = din_LI = dadapter_MI = None
    if needs[0] or needs[7]:
        base_MI = times_mT(dy_MO, weight_OI.mT)
        extra_MI = _product_of_change(dy_MO, out_deviation_LO, weight_OI.mT, sizes)
        din_LI = _dot(x_MI, (base_MI, extra_MI), sizes) if needs[7] else None
        update = (dh_MR, down_LRI) if adapter_x_MI is None else None
        dx_MI = compose_lanes(base_MI, sizes, update, in_deviation_LI, extra_MI) if needs[0] else None
    if adapter_x_MI is not None and needs[8]:
        dadapter_MI = times_lanes(dh_MR, down_LRI, sizes).to(adapter_x_MI.dtype)
    return dx_MI, None, dbias_O, None, dup_LRO.mT, ddown_LRI, dout_LO, din_LI, dadapter_MI


def _product_of_change(rows_MK: Tensor, deviation_LK: Tensor | None, matrix_JK: Tensor, sizes: Sizes) -> Tensor | None:
    """Return ``(deviation * rows) matrix^T``, of shape (M, J), or None where there is no deviation."""
    if deviation_LK is None:
        return None
    changes_MK = scale_lanes(rows_MK, deviation_LK, sizes, scratch_like(rows_MK))
    return times_mT(changes_MK, matrix_JK)


def _dot(other_MK: Tensor, parts: Sequence[Tensor | None], sizes: Sizes) -> Tensor:
    """Return the sum of ``other * (product + extra)`` over each lane's rows, of shape (L, K), in float32.

    ``parts`` are the product and the extra one, both (M, K); the first is always there.
    """
    product_MK, extra_MK = parts
    assert product_MK is not None  # noqa: S101 - it was computed
    dot_LK = dot_lanes(other_MK, product_MK, sizes)
    return dot_LK if extra_MK is None else dot_LK + dot_lanes(other_MK, extra_MK, sizes)
