"""Norms of the columns of W + up @ down, and the scale that restores the norms of W."""

from __future__ import annotations

from typing import TYPE_CHECKING

from d2lora.norms.base_weight import EPS, AnyBaseWeight, at_least_float32

if TYPE_CHECKING:
    from torch import Tensor

    from d2lora.norms.axes import Axis, NormGrad


def updated_norms(
    base: AnyBaseWeight, up_LOR: Tensor, down_LRI: Tensor, axis: Axis, norm_grad: NormGrad = "through"
) -> Tensor:
    """Return the norms of ``W + up @ down``: (L, O) for "out", over inputs, or (L, I) for "in", over outputs.

    Computed from thin products, so no dense tensor of shape (O, I) is built. Costs 2 O I R operations per lane forward
    and as many backward, independent of the number of tokens. Differentiable in ``up`` and ``down``, unless
    ``norm_grad`` is "detach". The result is float32 or better, for all types of the weight and of the thin factors.
    """
    from d2lora.norms.thin_norms import thin_norms

    up_LOR, down_LRI = at_least_float32(up_LOR), at_least_float32(down_LRI)
    if norm_grad == "detach":
        up_LOR, down_LRI = up_LOR.detach(), down_LRI.detach()
    return thin_norms(base, *((up_LOR, down_LRI) if axis == "out" else (down_LRI.mT, up_LOR.mT)), axis)


def dense_norms(moved_OI: Tensor, axis: Axis) -> Tensor:
    """Return the norms of a dense weight: (O,) for "out", (I,) for "in", in float32 or better."""
    return at_least_float32(moved_OI).square().sum(1 if axis == "out" else 0).clamp_min(EPS).sqrt()


def restoring_scale(base: AnyBaseWeight, updated: Tensor, axis: Axis) -> Tensor:
    """Return the factor that gives each column of ``W + dW`` the norm it has in W: ``|W| / |W + dW|``.

    ``updated`` is ``|W + dW|``, and the result has its shape. A column that is zero in W gets the factor 1.
    """
    scale, zeros = base.norms(axis) / updated, base.zeros(axis)
    return scale if zeros is None else scale.masked_fill(zeros, 1.0)
