"""Column norms of W + up @ down, from thin products: no dense O x I tensor is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from d2lora.method import Axis

EPS = 1e-12


class BaseWeight:
    """A frozen weight together with the squared norms of its columns, computed once an axis."""

    def __init__(self, weight_OI: Tensor) -> None:
        self.weight_OI = weight_OI
        self._norms2: dict[Axis, Tensor] = {}

    def norms2(self, axis: Axis) -> Tensor:
        """Return |W|^2 a unit of ``axis``, in float32 or better: shape (O,) for "out", (I,) for "in"."""
        found = self._norms2.get(axis)
        if found is None or found.device != self.weight_OI.device:
            wide_OI = at_least_float32(self.weight_OI.detach())
            found = self._norms2[axis] = wide_OI.square().sum(1 if axis == "out" else 0)
        return found


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return ``tensor`` in float32 if its type is narrower; norms are never computed in half precision."""
    return tensor.float() if tensor.element_size() < 4 else tensor


def updated_norms2(base: BaseWeight, up_LOR: Tensor, down_LRI: Tensor, axis: Axis) -> Tensor:
    """Return the squared norms of ``W + up @ down``: (L, O) for "out" (over inputs), (L, I) for "in".

    With P = W down^T: n2 = |W|^2 + sum_R up * (2 P + up (down down^T)); "in" is the same with the sides exchanged.
    Costs 2 O I R operations a lane whatever the number of tokens. Differentiable in ``up`` and ``down``.
    """
    weight, lanes, rank = base.weight_OI, up_LOR.shape[0], up_LOR.shape[2]
    if axis == "out":
        product_LRO = (down_LRI.to(weight.dtype).reshape(lanes * rank, -1) @ weight.mT).view(lanes, rank, -1)
        inner_LOR = 2 * product_LRO.mT.to(up_LOR.dtype) + up_LOR @ (down_LRI @ down_LRI.mT)
        return base.norms2(axis) + (up_LOR * inner_LOR).sum(2)
    product_LRI = (up_LOR.mT.to(weight.dtype).reshape(lanes * rank, -1) @ weight).view(lanes, rank, -1)
    inner_LRI = 2 * product_LRI.to(down_LRI.dtype) + (up_LOR.mT @ up_LOR) @ down_LRI
    return base.norms2(axis) + (down_LRI * inner_LRI).sum(1)


def restoring_scale(norms2: Tensor, updated2: Tensor) -> Tensor:
    """Return the factor that gives every column its norm back: sqrt(|W|^2 / n2), and 1 where W has a zero column."""
    scale = norms2.sqrt() * updated2.clamp_min(EPS).rsqrt()
    return scale.where(norms2 > 0, scale.new_ones(()))
