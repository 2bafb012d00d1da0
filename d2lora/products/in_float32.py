"""Products with a half-precision weight in float32, without a float32 copy of the whole weight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from d2lora.device_profile import profile_of
from d2lora.products.bfloat16_pairs import as_pair, on_tensor_cores, sum_of_pair, tensor_core_product


def product_in_float32(rows: Tensor, weight_OI: Tensor, transposed: bool) -> Tensor:
    """Return ``rows_KI @ weight_OI.mT`` if ``transposed``, else ``rows_KO @ weight_OI``, in float32.

    As exact as the product with a float32 copy of the weight. On CPUs a slice of the weight's rows is converted at a
    time. On GPUs a bfloat16 weight goes to tensor cores as it is, and float32 rows are split (`bfloat16_pairs`).
    ``rows`` may have the weight's own type. With float64 rows the result is float64. Differentiable in ``rows``, to any
    order.
    """
    result: Tensor = _ProductInFloat32.apply(rows, weight_OI, transposed)  # type: ignore[no-untyped-call]
    return result


def products_in_float32(thin_LRK: Tensor, weights: Sequence[Tensor], transposed: bool) -> Tensor:
    """Return each lane's ``thin`` times the lane's weight, of shape (L, R, J), in float32, without gradient.

    The lanes are divided equally among the ``weights``, in order: with two weights, the first half of the lanes is
    multiplied with ``weights[0]``. On tensor cores the lanes of all weights are split in one operation.
    """
    shares = thin_LRK.reshape(len(weights), -1, thin_LRK.shape[2])
    if on_tensor_cores(weights[0]) and thin_LRK.dtype == torch.float32:
        pairs = zip(as_pair(shares, 1), weights, strict=True)
        both = [tensor_core_product(pair, weight.mT if transposed else weight) for pair, weight in pairs]
        products = sum_of_pair(torch.stack(both), 1)
    else:
        parts = zip(shares, weights, strict=True)
        products = torch.stack([product_in_float32(part, weight, transposed) for part, weight in parts])
    return products.reshape(*thin_LRK.shape[:2], -1)


def widened_slices(weight_OI: Tensor, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    """Yield the rows of ``weight_OI`` slice by slice: which rows, and those rows in ``dtype``."""
    step = max(1, profile_of(weight_OI.device).slice_bytes // (weight_OI.shape[1] * dtype.itemsize))
    for start in range(0, weight_OI.shape[0], step):
        rows = slice(start, min(start + step, weight_OI.shape[0]))
        yield rows, weight_OI[rows].to(dtype)


class _ProductInFloat32(torch.autograd.Function):
    """The product, with a backward that keeps the half-precision weight.

    Autograd's own product would keep every float32 slice of the weight until backward.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight_OI: Tensor, transposed: bool) -> Tensor:
        ctx.save_for_backward(weight_OI)
        ctx.transposed, ctx.dtype = transposed, rows.dtype
        return (_on_tensor_cores if on_tensor_cores(weight_OI) else _by_slices)(rows, weight_OI, transposed)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (weight_OI,) = ctx.saved_tensors
        return product_in_float32(gradients[0], weight_OI, not ctx.transposed).to(ctx.dtype), None, None


def _on_tensor_cores(rows: Tensor, weight_OI: Tensor, transposed: bool) -> Tensor:
    matrix = weight_OI.mT if transposed else weight_OI
    if rows.dtype == weight_OI.dtype:
        return tensor_core_product(rows, matrix)
    return sum_of_pair(tensor_core_product(as_pair(rows, 0), matrix), 0)


def _by_slices(rows: Tensor, weight_OI: Tensor, transposed: bool) -> Tensor:
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    if transposed:
        result_KO = rows.new_empty(rows.shape[0], weight_OI.shape[0])
        for part, rows_oI in widened_slices(weight_OI, rows.dtype):
            result_KO[:, part] = rows @ rows_oI.mT
        return result_KO
    result_KI = rows.new_zeros(rows.shape[0], weight_OI.shape[1])
    for part, rows_oI in widened_slices(weight_OI, rows.dtype):
        result_KI.addmm_(rows[:, part], rows_oI)
    return result_KI
