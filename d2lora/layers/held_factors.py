"""Thin factors held over several passes: norms once an optimizer step in training, once in all in scoring."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from d2lora.kernels.factored import Factored
from d2lora.layers.factors import build_factors, built_with
from d2lora.layers.lanes import LaneLayer

Lanes = tuple[int, ...]


class HeldFactors:
    """The factors of a model's adapted layers, built once and read as leaves by every pass.

    Passes add up gradients in the leaves; `backward` carries their sums on to the adapters' parameters, through the
    norms, once.
    """

    def __init__(self, layers: Sequence[LaneLayer]) -> None:
        self._layers = list(layers)
        self._leaves: dict[tuple[int, Lanes], Factored] = {}
        self._built: list[tuple[Factored, list[Factored]]] = []

    def of(self, layer: LaneLayer, active: Lanes) -> Factored:
        """Return the layer's factors of these lanes, detached from how they were built, with others of its shape."""
        if (id(layer), active) not in self._leaves:
            self._build(built_with(layer, self._layers, active), active)
        return self._leaves[id(layer), active]

    def _build(self, layers: Sequence[LaneLayer], active: Lanes) -> None:
        # Checkpointing must not drop what they need and build them again. Detached, because a function that saved
        # its own result would otherwise hold itself for ever.
        # With gradient also where the first pass has none, as a first forward under checkpointing: later ones may.
        with torch.enable_grad(), saved_tensors_hooks(Tensor.detach, _itself):
            built = build_factors(layers, active)
        leaves = []
        for begin, layer in zip(range(0, len(layers) * len(active), len(active)), layers, strict=True):
            leaves.append(built.map(lambda tensor, begin=begin: _leaf(tensor[begin : begin + len(active)])))  # type: ignore[misc]
            self._leaves[id(layer), active] = leaves[-1]
        self._built.append((built, leaves))

    def pending(self) -> list[tuple[Tensor, Tensor]]:
        """Return each built tensor that passes have sent a gradient to, with that gradient."""
        return [
            (built, _joined(leaves))
            for whole, parts in self._built
            for built, leaves in zip(
                whole.tensors(), zip(*(part.tensors() for part in parts), strict=True), strict=True
            )
            if any(leaf.grad is not None for leaf in leaves)
        ]

    def backward(self) -> None:
        """Add the gradients of all passes to the parameters; call it once, after the last pass."""
        pending = self.pending()
        torch.autograd.backward([built for built, _ in pending], [gradient for _, gradient in pending])

    def gradients(self, parameters: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        """Return what `backward` would add to each of ``parameters``, None for one that no pass has used.

        In place of `backward`, for who adds them up in few operations: a model has hundreds of small parameters.
        """
        pending = self.pending()
        built, gradients = [one for one, _ in pending], [gradient for _, gradient in pending]
        return torch.autograd.grad(built, parameters, gradients, allow_unused=True)


def _joined(leaves: Sequence[Tensor]) -> Tensor:
    """Return the leaves' gradients as one; that of a layer that took no part is zero."""
    gradients = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]
    return gradients[0] if len(gradients) == 1 else torch.cat(gradients)


def _itself(tensor: Tensor) -> Tensor:
    return tensor


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_(tensor.requires_grad)
