"""A float32 tensor as a pair of bfloat16 tensors, so that tensor cores multiply it almost exactly.

Tensor cores multiply bfloat16 by bfloat16 and add up in float32. A float32 tensor has too many bits for them, but
``high + low``, two bfloat16 tensors, holds it to 17 bits. So the product of a float32 tensor with a bfloat16 tensor is
one tensor-core product with both parts, whose two results are added.
"""

from __future__ import annotations

import torch
from torch import Tensor


def as_pair(wide: Tensor, dim: int) -> Tensor:
    """Return ``high`` and ``low`` of a float32 tensor, in bfloat16, one behind the other along ``dim``.

    ``high`` is ``wide`` rounded to bfloat16, ``low`` is the rest ``wide - high``. The result is twice as long as
    ``wide`` along ``dim``.
    """
    shape = list(wide.shape)
    shape[dim] *= 2
    both = wide.new_empty(shape, dtype=torch.bfloat16)
    high, low = both.chunk(2, dim)
    high.copy_(wide)
    torch.sub(wide, high, out=low)
    return both


def sum_of_pair(product: Tensor, dim: int) -> Tensor:
    """Return the product with the float32 tensor: the results for ``high`` and ``low``, along ``dim``, added up."""
    high, low = product.chunk(2, dim)
    return high + low


def on_tensor_cores(narrow: Tensor) -> bool:
    """Tell whether tensor cores multiply ``narrow`` and add up in float32: they do for bfloat16 on a GPU."""
    return narrow.is_cuda and narrow.dtype == torch.bfloat16


def tensor_core_product(left: Tensor, right: Tensor) -> Tensor:
    """Return the product of two bfloat16 matrices, or of two batches of them, on a GPU, in float32."""
    multiply = torch.mm if left.ndim == 2 else torch.bmm
    return multiply(left, right, out_dtype=torch.float32)
