"""The entry to the adapted product: checks the weight, settles the types, and picks the form for the precision."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from d2lora.kernels.adapted_product import AdaptedProduct
from d2lora.kernels.adapted_product_half import AdaptedProductHalf
from d2lora.kernels.factored import Factored
from d2lora.products.autocast import as_autocast, without_autocast


def apply_factored(
    x_MI: Tensor,
    weight_OI: Tensor,
    thin: Factored,
    sizes: Sequence[int],
    *,
    bias_O: Tensor | None = None,
    adapter_x_MI: Tensor | None = None,
) -> Tensor:
    """Return ``out_scale * (W (in_scale * x)) + up down x + bias``, of shape (M, O), in the type of ``x_MI``.

    M counts the rows of all lanes, in lane order; lane l has ``sizes[l]`` rows. ``adapter_x_MI`` replaces ``x_MI`` in
    the term ``up down x`` only: it is ``x_MI`` after dropout. Half-precision rows take a form of their own, in which
    scales close to 1 are not rounded away (`AdaptedProductHalf`). ValueError if the weight requires a gradient.
    """
    x_MI, weight_OI = as_autocast(x_MI), as_autocast(weight_OI)
    if weight_OI.requires_grad:
        raise ValueError(
            "The weight of an adapted layer is frozen, and its requires_grad is True: set it to False, or take the "
            "adapters away with d2lora.detach to train the weight."
        )
    bias_O = None if bias_O is None else as_autocast(bias_O)
    adapter_x_MI = None if adapter_x_MI is None else as_autocast(adapter_x_MI)
    form = AdaptedProduct if x_MI.dtype.itemsize >= 4 else AdaptedProductHalf
    wide = torch.promote_types(x_MI.dtype, torch.float32)
    thin = thin.map(lambda tensor: tensor.to(wide))
    scales = thin.out_scale_LO, thin.in_scale_LI
    with without_autocast(x_MI):
        result: Tensor = form.apply(  # type: ignore[no-untyped-call]
            x_MI, weight_OI, bias_O, tuple(sizes), thin.up_LOR, thin.down_LRI, *scales, adapter_x_MI
        )
    return result
