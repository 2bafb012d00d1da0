"""Linear layers that are not trained: their products take the fastest kernel and keep no input for backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from d2lora.products.plain import suits_onednn, times_mT


class FrozenLinear(nn.Linear):
    """A frozen ``nn.Linear`` whose products take the fastest exact kernel (`d2lora.products.plain`).

    `freeze` changes only the class of a layer, and `thaw` changes the class back. So the layer stays the same object,
    with its parameters, its hooks and its names in the model.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x W^T + bias``, of shape (..., O), for ``x`` of shape (..., I)."""
        fast = suits_onednn(x) and self.weight.dtype == x.dtype and not self.weight.requires_grad
        if not fast or torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        y_MO: Tensor = _Product.apply(x.reshape(-1, self.in_features), self.weight)  # type: ignore[no-untyped-call]
        return (y_MO if self.bias is None else y_MO + self.bias).view(*x.shape[:-1], self.out_features)


def freeze(model: nn.Module) -> nn.Module:
    """Freeze every parameter and make every plain ``nn.Linear`` a `FrozenLinear`, in place. Returns ``model``.

    A layer keeps its class if it is of a subclass of ``nn.Linear``, if its ``forward`` was replaced, or if its weight
    is computed from other tensors.

    >>> import d2lora
    >>> d2lora.freeze(nn.Sequential(nn.Linear(8, 4)))[0]
    FrozenLinear(in_features=8, out_features=4, bias=True)
    """
    model.requires_grad_(False)
    for layer in model.modules():
        if type(layer) is nn.Linear and "forward" not in vars(layer) and layer._parameters.get("weight") is not None:
            layer.__class__ = FrozenLinear
    return model


def thaw(model: nn.Module) -> nn.Module:
    """Make every `FrozenLinear` a plain ``nn.Linear`` again, in place; parameters stay frozen. Returns ``model``."""
    for layer in model.modules():
        if type(layer) is FrozenLinear:
            layer.__class__ = nn.Linear  # type: ignore[assignment]
    return model


class _Product(torch.autograd.Function):
    """``y = x W^T``, which keeps only W for backward: W gets no gradient, so backward does not need x."""

    @staticmethod
    def forward(ctx: Any, x_MI: Tensor, weight_OI: Tensor) -> Tensor:
        ctx.save_for_backward(weight_OI)
        return times_mT(x_MI, weight_OI)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (weight_OI,) = ctx.saved_tensors
        return times_mT(gradients[0], weight_OI.mT), None
