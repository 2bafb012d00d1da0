"""The adapters of all lanes as one vector, lane after lane, and their gradients as another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LaneVector:
    """``values`` (P,) holds every trained number of a pack, and ``gradient`` (P,) what the passes of a step add up.

    The adapters' tensors and their ``grad`` are views on these two. ``sizes[l]`` numbers belong to lane l.
    """

    def __init__(self, lanes: Sequence[Sequence[Tensor]], device: torch.device) -> None:
        self.tensors = [tensor for tensors in lanes for tensor in tensors]
        self.sizes = [sum(tensor.numel() for tensor in tensors) for tensors in lanes]
        self.values = nn.Parameter(torch.cat([tensor.detach().reshape(-1) for tensor in self.tensors]).to(device))
        self.gradient = torch.zeros_like(self.values, requires_grad=False)
        self.attach()

    def attach(self) -> None:
        """Make the adapters' tensors views on ``values``, wherever that is now, and their ``grad`` on ``gradient``."""
        sizes = [tensor.numel() for tensor in self.tensors]
        parts = zip(self.tensors, torch.split(self.values.data, sizes), torch.split(self.gradient, sizes), strict=True)
        for tensor, values, gradient in parts:
            tensor.data = values.view(tensor.shape)
            tensor.grad = gradient.view(tensor.shape)

    def add(self, gradients: Sequence[Tensor | None]) -> None:
        """Add a gradient to that of each tensor, in their order; None adds nothing."""
        pairs = [(tensor.grad, one) for tensor, one in zip(self.tensors, gradients, strict=True) if one is not None]
        torch._foreach_add_([into for into, _ in pairs if into is not None], [one for _, one in pairs])
