"""Thin factors held over several passes: norms once an optimizer step in training, once in all in scoring."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from d2lora.method import Factored


class HeldFactors:
    """The factors of a model's adapted layers, built once and read as leaves by every pass.

    Passes add up gradients in the leaves; `backward` carries their sums on to the adapters' parameters, through the
    norms, once.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[Factored, Factored]] = {}

    def of(self, key: Hashable, build: Callable[[], Factored]) -> Factored:
        """Return the factors that ``key`` names, built the first time, detached from how they were built."""
        if key not in self._kept:
            # Checkpointing must not drop what they need and build them again. Detached, because a function that saved
            # its own result would otherwise hold itself for ever.
            with saved_tensors_hooks(Tensor.detach, _itself):
                built = build()
            self._kept[key] = built, built.map(_leaf)
        return self._kept[key][1]

    def pending(self) -> list[tuple[Tensor, Tensor]]:
        """Return each built tensor that passes have sent a gradient to, with that gradient."""
        return [
            (built, leaf.grad)
            for built_and_leaves in self._kept.values()
            for built, leaf in zip(*(thin.tensors() for thin in built_and_leaves), strict=True)
            if leaf.grad is not None
        ]

    def backward(self) -> None:
        """Add the gradients of all passes to the parameters; call it once, after the last pass."""
        pending = self.pending()
        torch.autograd.backward([built for built, _ in pending], [gradient for _, gradient in pending])


def _itself(tensor: Tensor) -> Tensor:
    return tensor


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_(tensor.requires_grad)
