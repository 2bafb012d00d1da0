"""The norms of W + update as one autograd function, forward and backward in a few thin products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from d2lora.norms.base_weight import EPS
from d2lora.products.autocast import without_autocast

if TYPE_CHECKING:
    from d2lora.norms.axes import Axis
    from d2lora.norms.base_weight import AnyBaseWeight


def thin_norms(base: AnyBaseWeight, left_LKR: Tensor, right_LRJ: Tensor, axis: Axis) -> Tensor:
    """Return the norms (L, K) of W + update, in the type of the factors; for `column_norms.updated_norms`."""
    norms: Tensor = _ThinNorms.apply(base, left_LKR, right_LRJ, axis)  # type: ignore[no-untyped-call]
    return norms


class _ThinNorms(torch.autograd.Function):
    """``n_K^2 = |W|^2 + sum_R left * (P + Q)`` with ``P = W right^T`` and ``Q = P + left (right right^T)``.

    K counts the units that have a norm, J the numbers over which each norm sums. For "out", K is O, J is I, left is
    ``up`` and right is ``down``. For "in", K is I, J is O, left is ``down^T``, right is ``up^T``, and W is transposed.
    Backward, with g the gradient of n and ``G = (g / n) left``: ``dleft = (g / n) Q`` and
    ``dright = G^T W + (left^T G) right``.
    """

    @staticmethod
    def forward(ctx: Any, base: AnyBaseWeight, left_LKR: Tensor, right_LRJ: Tensor, axis: Axis) -> Tensor:
        product_LKR = base.product(right_LRJ, axis)
        slope_LKR = torch.baddbmm(product_LKR, left_LKR, torch.bmm(right_LRJ, right_LRJ.mT))
        norms_LK = ((product_LKR + slope_LKR) * left_LKR).sum(2).add_(base.norms2(axis)).clamp_min_(EPS).sqrt_()
        ctx.save_for_backward(left_LKR, right_LRJ, slope_LKR, norms_LK)
        ctx.base, ctx.axis = base, axis
        return norms_LK

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        with without_autocast(gradients[0]):
            return _norms_backward(ctx, gradients[0])


def _norms_backward(ctx: Any, dnorms_LK: Tensor) -> tuple[Tensor | None, ...]:
    left_LKR, right_LRJ, slope_LKR, norms_LK = ctx.saved_tensors
    share_LK1 = (dnorms_LK / norms_LK)[:, :, None]
    weighted_LRK = (share_LK1 * left_LKR).mT
    through_base_LRJ = ctx.base.product(weighted_LRK, "in" if ctx.axis == "out" else "out").mT
    dright_LRJ = torch.baddbmm(through_base_LRJ, torch.bmm(weighted_LRK, left_LKR), right_LRJ)
    return None, slope_LKR * share_LK1, dright_LRJ, None
