"""Products with a weight of half precision in float32, without a widened copy of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from d2lora.halves import halves, on_tensor_cores, times_in_float32

SLICE_BYTES = 16 * 2**20  # of one widened slice; two at most are held at once


def wide_slices(weight_OI: Tensor, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    """Yield ranges of rows that cover ``weight_OI``, each with those rows in ``dtype``, of at most `SLICE_BYTES`."""
    step = max(1, SLICE_BYTES // (weight_OI.shape[1] * dtype.itemsize))
    for start in range(0, weight_OI.shape[0], step):
        rows = slice(start, min(start + step, weight_OI.shape[0]))
        yield rows, weight_OI[rows].to(dtype)


def wide_product(thin: Tensor, weight_OI: Tensor, transposed: bool) -> Tensor:
    """Return ``thin_KI @ weight_OI.mT`` if ``transposed``, else ``thin_KO @ weight_OI``, in the type of ``thin``.

    As exact as the product with a widened copy: on CPUs a slice of the weight's rows is widened at a time, on GPUs
    ``thin`` is split into two bfloat16 tensors. Differentiable in ``thin``, as often as wanted.
    """
    result: Tensor = _WideProduct.apply(thin, weight_OI, transposed)  # type: ignore[no-untyped-call]
    return result


class _WideProduct(torch.autograd.Function):
    """Keeps the weight as it is for backward, where autograd's own product would keep every widened slice."""

    @staticmethod
    def forward(ctx: Any, thin: Tensor, weight_OI: Tensor, transposed: bool) -> Tensor:
        ctx.save_for_backward(weight_OI)
        ctx.transposed = transposed
        if on_tensor_cores(weight_OI):
            matrix = weight_OI.mT if transposed else weight_OI
            high, low = halves(thin)
            return times_in_float32(high, matrix) + times_in_float32(low, matrix)
        if transposed:
            result_KO = thin.new_empty(thin.shape[0], weight_OI.shape[0])
            for rows, rows_oI in wide_slices(weight_OI, thin.dtype):
                result_KO[:, rows] = thin @ rows_oI.mT
            return result_KO
        result_KI = thin.new_zeros(thin.shape[0], weight_OI.shape[1])
        for rows, rows_oI in wide_slices(weight_OI, thin.dtype):
            result_KI.addmm_(thin[:, rows], rows_oI)
        return result_KI

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (weight_OI,) = ctx.saved_tensors
        return wide_product(gradients[0], weight_OI, not ctx.transposed), None, None
