"""Linear layers whose weights are not trained: they know how to multiply faster, and keep less for backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from d2lora.products import suits_onednn, times_mT


class FrozenLinear(nn.Linear):
    """An ``nn.Linear`` that is frozen; its products take the fastest exact kernel (see `d2lora.products`)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the product for ``x`` of shape (..., I)."""
        if self.weight.requires_grad or not suits_onednn(x) or torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        y_MO: Tensor = _Product.apply(x.reshape(-1, self.in_features), self.weight)  # type: ignore[no-untyped-call]
        return (y_MO if self.bias is None else y_MO + self.bias).view(*x.shape[:-1], self.out_features)

    def plain(self) -> nn.Linear:
        """Return a plain ``nn.Linear`` that shares weight and bias."""
        return linear_of(self.weight, self.bias)


def freeze(model: nn.Module) -> nn.Module:
    """Freeze every parameter and make every plain ``nn.Linear`` a `FrozenLinear`, in place. Returns ``model``."""
    model.requires_grad_(False)
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Linear:
                setattr(parent, name, linear_of(child.weight, child.bias, FrozenLinear))
    return model


def linear_of(weight_OI: Tensor, bias_O: Tensor | None, kind: type[nn.Linear] = nn.Linear) -> nn.Linear:
    """Return a frozen linear layer of ``kind`` that has these tensors, not copies, as its parameters."""
    linear = kind(weight_OI.shape[1], weight_OI.shape[0], bias_O is not None, device="meta")
    for name, tensor in (("weight", weight_OI), ("bias", bias_O)):
        if tensor is not None:
            own = tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor, requires_grad=False)
            setattr(linear, name, own)
    return linear


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
