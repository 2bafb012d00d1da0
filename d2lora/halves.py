"""A float32 tensor as two bfloat16 ones, so that tensor cores multiply it with a bfloat16 tensor almost exactly."""

from __future__ import annotations

import torch
from torch import Tensor


def halves(wide: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``wide`` (float32) as the sum of two bfloat16 tensors, to 17 bits: it rounded, and the rest rounded."""
    high = wide.to(torch.bfloat16)
    return high, (wide - high).to(torch.bfloat16)


def on_tensor_cores(narrow: Tensor) -> bool:
    """Return whether products with ``narrow`` take tensor cores that add up in float32: bfloat16 on a GPU."""
    return narrow.is_cuda and narrow.dtype == torch.bfloat16


def times_in_float32(left: Tensor, right: Tensor) -> Tensor:
    """Return the product of bfloat16 matrices, or batches of matrices, on a GPU, in float32."""
    return (
        torch.mm(left, right, out_dtype=torch.float32)
        if left.ndim == 2
        else torch.bmm(left, right, out_dtype=torch.float32)
    )
