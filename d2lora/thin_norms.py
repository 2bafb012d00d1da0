"""The squared norms of W + update as an autograd function: both directions in thin products, few of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from d2lora.method import Axis
    from d2lora.norms import BaseWeight


def thin_norms2(base: BaseWeight, left_LKR: Tensor, right_LRJ: Tensor, axis: Axis) -> Tensor:
    """Return the squared norms (L, K) of W + update; see `d2lora.norms.updated_norms2`, which calls this."""
    norms2: Tensor = _ThinNorms2.apply(base, left_LKR, right_LRJ, axis)  # type: ignore[no-untyped-call]
    return norms2


class _ThinNorms2(torch.autograd.Function):
    """``n2_K = |W|^2 + sum_R left * (P + Q)`` with ``P = W right^T`` and ``Q = P + left (right right^T)``.

    K counts the units that have a norm, J what a norm runs over: for "out" K is O, left is ``up`` and right ``down``;
    "in" is the same with the sides, and W, transposed. Backward, with g the gradient of n2 and G = 2 g left:
    ``dleft = 2 g Q`` and ``dright = G^T W + (left^T G) right``.
    """

    @staticmethod
    def forward(ctx: Any, base: BaseWeight, left_LKR: Tensor, right_LRJ: Tensor, axis: Axis) -> Tensor:
        product_LKR = base.product(right_LRJ, axis).mT
        slope_LKR = torch.baddbmm(product_LKR, left_LKR, torch.bmm(right_LRJ, right_LRJ.mT))
        ctx.save_for_backward(left_LKR, right_LRJ, slope_LKR)
        ctx.base, ctx.axis = base, axis
        return base.norms2(axis) + (left_LKR * (product_LKR + slope_LKR)).sum(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        left_LKR, right_LRJ, slope_LKR = ctx.saved_tensors
        twice_LK1 = 2 * gradients[0][:, :, None]
        weighted_LRK = (twice_LK1 * left_LKR).mT
        through_base_LRJ = ctx.base.product(weighted_LRK, "in" if ctx.axis == "out" else "out")
        dright_LRJ = torch.baddbmm(through_base_LRJ, torch.bmm(weighted_LRK, left_LKR), right_LRJ)
        return None, twice_LK1 * slope_LKR, dright_LRJ, None
