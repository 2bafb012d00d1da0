"""Products with a weight of half precision in float32, without a widened copy of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from d2lora.kernels.device_profile import profile_of
from d2lora.kernels.halves import added, halves, on_tensor_cores, times_in_float32


def wide_slices(weight_OI: Tensor, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    """Yield ranges of rows that cover ``weight_OI``, each with those rows in ``dtype``."""
    step = max(1, profile_of(weight_OI.device).slice_bytes // (weight_OI.shape[1] * dtype.itemsize))
    for start in range(0, weight_OI.shape[0], step):
        rows = slice(start, min(start + step, weight_OI.shape[0]))
        yield rows, weight_OI[rows].to(dtype)


def wide_product(rows: Tensor, weight_OI: Tensor, transposed: bool) -> Tensor:
    """Return ``rows_KI @ weight_OI.mT`` if ``transposed``, else ``rows_KO @ weight_OI``, in float32 or better.

    As exact as the product with a widened copy: on CPUs a slice of the weight's rows is widened at a time, on GPUs
    float32 rows are split into two bfloat16 tensors. ``rows`` may have the weight's type, too. Differentiable in
    ``rows``, as often as wanted.
    """
    result: Tensor = _WideProduct.apply(rows, weight_OI, transposed)  # type: ignore[no-untyped-call]
    return result


def wide_products(thin_LRK: Tensor, weights: Sequence[Tensor], transposed: bool) -> Tensor:
    """Return each of the ``weights``' equal shares of lanes of ``thin`` times its weight, of shape (L, R, J).

    What `wide_product` returns, without gradient. On tensor cores the lanes of all weights are split at once.
    """
    shares = thin_LRK.reshape(len(weights), -1, thin_LRK.shape[2])
    if on_tensor_cores(weights[0]) and thin_LRK.dtype == torch.float32:
        parts = zip(halves(shares, 1), weights, strict=True)
        both = torch.stack([times_in_float32(part, one.mT if transposed else one) for part, one in parts])
        products = added(both, 1)
    else:
        parts = zip(shares, weights, strict=True)
        products = torch.stack([wide_product(part, one, transposed) for part, one in parts])
    return products.reshape(*thin_LRK.shape[:2], -1)


class _WideProduct(torch.autograd.Function):
    """Keeps the weight as it is for backward, where autograd's own product would keep every widened slice."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight_OI: Tensor, transposed: bool) -> Tensor:
        ctx.save_for_backward(weight_OI)
        ctx.transposed, ctx.dtype = transposed, rows.dtype
        return (_on_tensor_cores if on_tensor_cores(weight_OI) else _by_slices)(rows, weight_OI, transposed)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (weight_OI,) = ctx.saved_tensors
        return wide_product(gradients[0], weight_OI, not ctx.transposed).to(ctx.dtype), None, None


def _on_tensor_cores(rows: Tensor, weight_OI: Tensor, transposed: bool) -> Tensor:
    matrix = weight_OI.mT if transposed else weight_OI
    if rows.dtype == weight_OI.dtype:
        return times_in_float32(rows, matrix)
    return added(times_in_float32(halves(rows, 0), matrix), 0)


def _by_slices(rows: Tensor, weight_OI: Tensor, transposed: bool) -> Tensor:
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    if transposed:
        result_KO = rows.new_empty(rows.shape[0], weight_OI.shape[0])
        for part, rows_oI in wide_slices(weight_OI, rows.dtype):
            result_KO[:, part] = rows @ rows_oI.mT
        return result_KO
    result_KI = rows.new_zeros(rows.shape[0], weight_OI.shape[1])
    for part, rows_oI in wide_slices(weight_OI, rows.dtype):
        result_KI.addmm_(rows[:, part], rows_oI)
    return result_KI
