"""The adapted product over half-precision activations: thin parts in float32, and one rounding of each result.

``x``, ``W``, ``y`` and their gradients are bfloat16 or float16. Factors, scales, ``h`` and their gradients are float32.
docs/precision.md lists the type of every tensor.

A scale acts by its deviation from 1 (`compose`), because ``1.001 * b`` rounded to bfloat16 is ``b``. For the same
reason a product of a scaled input with W is two products: of the input itself, and of the input's change,
``(scale - 1) * input``. The scaled input rounded to bfloat16 would be the input, and the change would be lost.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from d2lora.kernels.compose import compose_lanes
from d2lora.kernels.composition import Composition
from d2lora.products.autocast import without_autocast
from d2lora.products.by_lane import Sizes, scale_lanes, times_lanes
from d2lora.products.by_lane_in_float32 import (
    dot_lanes_in_float32,
    for_products,
    outer_lanes_in_float32,
    times_lanes_in_float32,
)
from d2lora.products.plain import times_mT
from d2lora.products.scratch import scratch_like


class AdaptedProductHalf(torch.autograd.Function):
    """``y = out_scale * b + h up^T + bias`` with ``b = (in_scale * x) W^T`` and ``h = x down^T``; keeps x, h and b.

    Backward: ``dx = in_scale * g + dy up down`` with ``g = (out_scale * dy) W``.
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
        h_MR = times_lanes_in_float32(x_MI if adapter_x_MI is None else adapter_x_MI, down_LRI.mT, sizes)
        base_MO = times_mT(x_MI, weight_OI) if bias_O is None else linear(x_MI, weight_OI, bias_O)
        out_deviation_LO, in_deviation_LI = (None if s is None else s - 1 for s in (out_scale_LO, in_scale_LI))
        extra_MO = _product_of_change(x_MI, in_deviation_LI, weight_OI, sizes)
        y_MO = compose_lanes(Composition(base_MO, sizes, (h_MR, up_LOR.mT), out_deviation_LO, extra_MO, bias_O))
        ctx.sizes = sizes
        kept: tuple[Tensor | None, Tensor | None] = (None, None)
        if ctx.needs_input_grad[6]:
            # The output scale's gradient reads b. With a bias, base_MO is b + bias rounded to bfloat16: a bias of 100
            # leaves rounding of 0.25 in it, more than b itself may be. So b is computed again without the bias.
            kept = base_MO if bias_O is None else times_mT(x_MI, weight_OI), extra_MO
        deviations = out_deviation_LO, in_deviation_LI
        ctx.save_for_backward(x_MI, weight_OI, up_LOR, down_LRI, *deviations, adapter_x_MI, h_MR, *kept)
        return y_MO

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        with without_autocast(gradients[0]):
            return _backward(ctx, gradients[0].contiguous())


def _backward(ctx: Any, dy_MO: Tensor) -> tuple[Tensor | None, ...]:
    x_MI, weight_OI, up_LOR, down_LRI, out_deviation_LO, in_deviation_LI, *others = ctx.saved_tensors
    adapter_x_MI, h_MR, base_MO, extra_MO = others
    sizes, needs = ctx.sizes, ctx.needs_input_grad
    wide_dy_MO = for_products(dy_MO)
    dup_LRO = outer_lanes_in_float32(h_MR, wide_dy_MO, sizes)
    dh_MR = times_lanes_in_float32(wide_dy_MO, up_LOR, sizes)
    ddown_LRI = outer_lanes_in_float32(dh_MR, x_MI if adapter_x_MI is None else adapter_x_MI, sizes)
    dout_LO = _scale_gradient(wide_dy_MO, base_MO, extra_MO, sizes) if needs[6] else None
    dbias_O = dy_MO.sum(0) if needs[2] else None
    dx_MI = din_LI = dadapter_MI = None
    if needs[0] or needs[7]:
        base_MI = times_mT(dy_MO, weight_OI.mT)
        extra_MI = _product_of_change(dy_MO, out_deviation_LO, weight_OI.mT, sizes)
        din_LI = _scale_gradient(x_MI, base_MI, extra_MI, sizes) if needs[7] else None
        update = (dh_MR, down_LRI) if adapter_x_MI is None else None
        dx_MI = compose_lanes(Composition(base_MI, sizes, update, in_deviation_LI, extra_MI)) if needs[0] else None
    if adapter_x_MI is not None and needs[8]:
        dadapter_MI = times_lanes(dh_MR, down_LRI, sizes).to(adapter_x_MI.dtype)
    return dx_MI, None, dbias_O, None, dup_LRO.mT, ddown_LRI, dout_LO, din_LI, dadapter_MI


def _product_of_change(rows_MK: Tensor, deviation_LK: Tensor | None, matrix_JK: Tensor, sizes: Sizes) -> Tensor | None:
    """Return ``(deviation * rows) matrix^T``, of shape (M, J); None if there is no deviation."""
    if deviation_LK is None:
        return None
    changes_MK = scale_lanes(rows_MK, deviation_LK, sizes, scratch_like(rows_MK))
    return times_mT(changes_MK, matrix_JK)


def _scale_gradient(other_MK: Tensor, base_MK: Tensor, extra_MK: Tensor | None, sizes: Sizes) -> Tensor:
    """Return the gradient of a scale: ``other * (base + extra)`` summed over each lane's rows, (L, K), in float32.

    The scale multiplies ``base + extra``, forward or backward; ``other`` is the other factor: ``dy`` for the output
    scale, ``x`` for the input scale.
    """
    dot_LK = dot_lanes_in_float32(other_MK, base_MK, sizes)
    return dot_LK if extra_MK is None else dot_LK + dot_lanes_in_float32(other_MK, extra_MK, sizes)
