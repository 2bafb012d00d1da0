"""The adapters of all lanes as one vector, lane after lane, and their gradients as a second vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LaneVector:
    """``values`` (P,) holds every trained number of a pack; ``gradient`` (P,) sums the gradients of a step's passes.

    The adapters' tensors are views of ``values``, and their ``grad`` are views of ``gradient``. Lane l has ``sizes[l]``
    numbers.
    """

    def __init__(self, lanes: Sequence[Sequence[Tensor]], device: torch.device) -> None:
        self.tensors = [tensor for tensors in lanes for tensor in tensors]
        self.sizes = [sum(tensor.numel() for tensor in tensors) for tensors in lanes]
        self.values = nn.Parameter(torch.cat([tensor.detach().reshape(-1) for tensor in self.tensors]).to(device))
        self.gradient = torch.zeros_like(self.values, requires_grad=False)
        self.attach()

    def attach(self) -> None:
        """Make the adapters' tensors views of ``values``, and their ``grad`` views of ``gradient``.

        Call it again when ``values`` has been moved to other memory.
        """
        sizes = [tensor.numel() for tensor in self.tensors]
        parts = zip(self.tensors, torch.split(self.values.data, sizes), torch.split(self.gradient, sizes), strict=True)
        for tensor, values, gradient in parts:
            tensor.data = values.view(tensor.shape)
            tensor.grad = gradient.view(tensor.shape)

    def add(self, gradients: Sequence[Tensor | None]) -> None:
        """Add ``gradients[i]`` to the gradient of tensor i; None adds nothing."""
        pairs = [
            (tensor.grad, added) for tensor, added in zip(self.tensors, gradients, strict=True) if added is not None
        ]
        torch._foreach_add_([grad for grad, _ in pairs if grad is not None], [added for _, added in pairs])
