"""Linear layers whose weights are not trained: they know how to multiply faster, and keep less for backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from d2lora.kernels.products import suits_onednn, times_mT


class FrozenLinear(nn.Linear):
    """An ``nn.Linear`` that is frozen; its products take the fastest exact kernel (see `d2lora.products`).

    A layer becomes one, and is plain again, by its class alone: it stays the same object, with its parameters, hooks
    and names.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the product for ``x`` of shape (..., I)."""
        fast = suits_onednn(x) and self.weight.dtype == x.dtype and not self.weight.requires_grad
        if not fast or torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        y_MO: Tensor = _Product.apply(x.reshape(-1, self.in_features), self.weight)  # type: ignore[no-untyped-call]
        return (y_MO if self.bias is None else y_MO + self.bias).view(*x.shape[:-1], self.out_features)


def freeze(model: nn.Module) -> nn.Module:
    """Freeze every parameter and make every plain ``nn.Linear`` a `FrozenLinear`, in place. Returns ``model``.

    Layers whose forward or weight somebody has replaced stay as they are.

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
    """Make every `FrozenLinear` a plain ``nn.Linear`` again, in place; what is frozen stays so. Returns ``model``."""
    for layer in model.modules():
        if type(layer) is FrozenLinear:
            layer.__class__ = nn.Linear  # type: ignore[assignment]
    return model


def refuse_trained_weight(ctx: Any) -> None:
    """Raise where the weight, the second input of an adapted layer's function, is to get a gradient."""
    if ctx.needs_input_grad[1]:
        raise ValueError(
            "The weight of an adapted layer is frozen, and its requires_grad is True: set it to False, or take the "
            "adapters away with d2lora.detach to train the weight."
        )


class _Product(torch.autograd.Function):
    """``y = x W^T`` that keeps W alone, by reference: it has no gradient."""

    @staticmethod
    def forward(ctx: Any, x_MI: Tensor, weight_OI: Tensor) -> Tensor:
        ctx.save_for_backward(weight_OI)
        return times_mT(x_MI, weight_OI)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (weight_OI,) = ctx.saved_tensors
        return times_mT(gradients[0], weight_OI.mT), None
