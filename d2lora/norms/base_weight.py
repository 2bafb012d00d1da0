"""A frozen weight, or several frozen weights of one shape, with norms that are computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from d2lora.norms.norm_cache import NormCache

if TYPE_CHECKING:
    from torch import Tensor

    from d2lora.norms.axes import Axis


EPS = 1e-12
"""The least squared norm: a norm of zero counts as 1e-6, so that nothing divides by zero."""


class BaseWeight:
    """A frozen weight together with the norms of its columns, computed once per axis (see `NormCache`)."""

    def __init__(self, weight_OI: Tensor, cache: NormCache | None = None) -> None:
        self.weight_OI, self._cache = weight_OI, NormCache() if cache is None else cache

    @classmethod
    def of(cls, weight: Tensor | BaseWeight) -> BaseWeight:
        """Return a `BaseWeight` of ``weight``; a `BaseWeight` is returned itself, with the norms it has computed."""
        return weight if isinstance(weight, BaseWeight) else cls(weight)

    @property
    def shape(self) -> tuple[int, int]:
        """Out features and in features."""
        out_features, in_features = self.weight_OI.shape
        return out_features, in_features

    def zeros_for_start(self, shape: Sequence[int]) -> Tensor:
        """Return zeros on the CPU, where starts are drawn, in float32, or in float64 over a float64 weight."""
        import torch

        return torch.zeros(shape, dtype=torch.promote_types(self.weight_OI.dtype, torch.float32))

    def norms2(self, axis: Axis) -> Tensor:
        """Return the squared norm of each unit of ``axis``, in float32 or better: (O,) for "out", (I,) for "in"."""
        return self._cache.of(self.weight_OI, axis).norms2

    def norms(self, axis: Axis) -> Tensor:
        """Return the norm of each unit of ``axis``, of the same shape and type as `norms2`."""
        return self._cache.of(self.weight_OI, axis).norms

    def zeros(self, axis: Axis) -> Tensor | None:
        """Return a bool mask of the units whose norm is zero; None if it is known that no norm is zero."""
        return self._cache.of(self.weight_OI, axis).zeros

    def product(self, thin: Tensor, axis: Axis) -> Tensor:
        """Return ``W @ thin_LRI.mT`` (L, O, R) for "out", ``W.mT @ thin_LRO.mT`` (L, I, R) for "in".

        In the type of ``thin``, which is float32 or better, and without gradient. "out" multiplies the weight by
        ``thin`` and "in" multiplies ``thin`` by the weight, because these orders are the faster ones on CPUs. The
        product with a half-precision weight is computed in float32, without a float32 copy of the whole weight.
        """
        from d2lora.products.plain import times_mT

        weight_OI, (lanes, rank, _) = self.weight_OI, thin.shape
        if weight_OI.element_size() < 4:
            from d2lora.products.in_float32 import product_in_float32

            flat = product_in_float32(thin.reshape(lanes * rank, -1), weight_OI, axis == "out")
            return flat.view(lanes, rank, -1).mT
        flat = thin.to(weight_OI.dtype).reshape(lanes * rank, -1)
        if axis == "out":
            return times_mT(weight_OI, flat).view(-1, lanes, rank).transpose(0, 1).to(thin.dtype)
        return times_mT(flat, weight_OI.mT).view(lanes, rank, -1).mT.to(thin.dtype)


class BaseWeights:
    """Several frozen weights of one shape, each with ``lanes`` lanes, which a method may use as if it were one weight.

    L counts the lanes of all weights, in order; norms have one row per lane.
    """

    def __init__(self, weights: Sequence[BaseWeight], lanes: int) -> None:
        self.weights, self.lanes = list(weights), lanes

    def norms2(self, axis: Axis) -> Tensor:
        """Return the squared norm of each unit of ``axis``: (L, O) for "out", (L, I) for "in"."""
        return self._rows([weight.norms2(axis) for weight in self.weights])

    def norms(self, axis: Axis) -> Tensor:
        """Return the norm of each unit of ``axis``, of the same shape as `norms2`."""
        return self._rows([weight.norms(axis) for weight in self.weights])

    def zeros(self, axis: Axis) -> Tensor | None:
        """Return a bool mask of the units whose norm is zero; None if it is known that no norm is zero."""
        if all(weight.zeros(axis) is None for weight in self.weights):
            return None
        return self.norms2(axis) == 0

    def product(self, thin: Tensor, axis: Axis) -> Tensor:
        """Return what `BaseWeight.product` returns, each lane's ``thin`` multiplied with the lane's own weight."""
        import torch

        matrices = [weight.weight_OI for weight in self.weights]
        if matrices[0].element_size() < 4:
            from d2lora.products.in_float32 import products_in_float32

            return products_in_float32(thin, matrices, axis == "out").mT
        parts = zip(self.weights, torch.split(thin, self.lanes), strict=True)
        return torch.cat([weight.product(part, axis) for weight, part in parts])

    def _rows(self, each: Sequence[Tensor]) -> Tensor:
        """Return the tensor of each weight as a row per lane."""
        import torch

        rows = torch.stack(list(each))
        return rows if self.lanes == 1 else rows.repeat_interleave(self.lanes, 0)


AnyBaseWeight = BaseWeight | BaseWeights


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return ``tensor`` in float32 if it is in half precision, in which norms are never computed; else unchanged."""
    return tensor.float() if tensor.element_size() < 4 else tensor
