"""A float32 tensor as two bfloat16 ones, so that tensor cores multiply it with a bfloat16 tensor almost exactly."""

from __future__ import annotations

import torch
from torch import Tensor


def halves(wide: Tensor, dim: int) -> Tensor:
    """Return ``wide`` (float32) rounded to bfloat16 and, behind it along ``dim``, what rounding has lost.

    The sum of both is ``wide`` to 17 bits. So a product with both, added up, is a product with ``wide``.
    """
    shape = list(wide.shape)
    shape[dim] *= 2
    both = wide.new_empty(shape, dtype=torch.bfloat16)
    high, low = both.chunk(2, dim)
    high.copy_(wide)
    torch.sub(wide, high, out=low)
    return both


def on_tensor_cores(narrow: Tensor) -> bool:
    """Return whether products with ``narrow`` take tensor cores that add up in float32: bfloat16 on a GPU."""
    return narrow.is_cuda and narrow.dtype == torch.bfloat16


def times_in_float32(left: Tensor, right: Tensor) -> Tensor:
    """Return the product of bfloat16 matrices, or of batches of matrices, on a GPU, in float32."""
    multiply = torch.mm if left.ndim == 2 else torch.bmm
    return multiply(left, right, out_dtype=torch.float32)


def added(product: Tensor, dim: int) -> Tensor:
    """Return the sum of the two parts of a product with `halves` along ``dim``."""
    high, low = product.chunk(2, dim)
    return high + low
