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
            weight_OI, dim = self.weight_OI.detach(), 1 if axis == "out" else 0
            if weight_OI.element_size() < 4:
                from d2lora.wide import wide_norms2

                found = wide_norms2(weight_OI, dim)
            else:
                found = weight_OI.square().sum(dim)
            self._norms2[axis] = found
        return found

    def product(self, thin: Tensor, axis: Axis) -> Tensor:
        """Return ``thin_LRI @ W.mT`` for "out", ``thin_LRO @ W`` for "in", in the type of ``thin``, float32 or better.

        A half-precision weight is widened a bounded slice at a time, so its product is as exact as one in float32.
        """
        weight_OI, (lanes, rank, _) = self.weight_OI, thin.shape
        if weight_OI.element_size() < 4:
            from d2lora.wide import wide_product

            return wide_product(thin.reshape(lanes * rank, -1), weight_OI, axis == "out").view(lanes, rank, -1)
        flat = thin.to(weight_OI.dtype).reshape(lanes * rank, -1)
        return (flat @ (weight_OI.mT if axis == "out" else weight_OI)).view(lanes, rank, -1).to(thin.dtype)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return ``tensor`` in float32 if its type is narrower; norms are never computed in half precision."""
    return tensor.float() if tensor.element_size() < 4 else tensor


def updated_norms2(base: BaseWeight, up_LOR: Tensor, down_LRI: Tensor, axis: Axis) -> Tensor:
    """Return the squared norms of ``W + up @ down``: (L, O) for "out" (over inputs), (L, I) for "in".

    Costs 2 O I R operations a lane, and as many backward, whatever the number of tokens. Differentiable in ``up`` and
    ``down``. Computed in float32 or better whatever the types of the weight and of the thin factors.
    """
    from d2lora.thin_norms import thin_norms2

    up_LOR, down_LRI = at_least_float32(up_LOR), at_least_float32(down_LRI)
    sides = (up_LOR, down_LRI) if axis == "out" else (down_LRI.mT, up_LOR.mT)
    return thin_norms2(base, *sides, axis)


def restoring_scale(norms2: Tensor, updated2: Tensor) -> Tensor:
    """Return the factor that gives every column its norm back: sqrt(|W|^2 / n2), and 1 where W has a zero column."""
    scale = norms2.sqrt() * updated2.clamp_min(EPS).rsqrt()
    return scale.where(norms2 > 0, scale.new_ones(()))
