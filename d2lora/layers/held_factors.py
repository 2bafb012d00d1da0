"""Thin factors that are built once and read by several passes, so that norms are computed once per optimizer step."""

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
    """The factors of a model's adapted layers, built when first asked for and then kept.

    Each pass reads the factors as leaf tensors, detached from the graph that built them. Backward of the passes adds up
    gradients in the leaves. `backward` then carries these sums through the norms to the adapters' parameters, once.
    """

    def __init__(self, layers: Sequence[LaneLayer]) -> None:
        self._layers = list(layers)
        self._leaves: dict[tuple[int, Lanes], Factored] = {}
        self._built: list[tuple[Factored, list[Factored]]] = []

    def of(self, layer: LaneLayer, active: Lanes) -> Factored:
        """Return the leaves of the layer's ``active`` lanes; other layers of the same shape are built along with it."""
        if (id(layer), active) not in self._leaves:
            self._build(built_with(layer, self._layers, active), active)
        return self._leaves[id(layer), active]

    def _build(self, layers: Sequence[LaneLayer], active: Lanes) -> None:
        # enable_grad: under checkpointing the first forward runs without gradient, but later passes need the graph.
        # The hooks keep saved tensors away from checkpointing, which would drop them and build the factors again.
        # They detach, because a function that saves its own result would otherwise keep itself alive for ever.
        with torch.enable_grad(), saved_tensors_hooks(Tensor.detach, _unchanged):
            built = build_factors(layers, active)
        leaves = []
        for begin, layer in zip(range(0, len(layers) * len(active), len(active)), layers, strict=True):
            leaves.append(built.map(lambda tensor, begin=begin: _leaf(tensor[begin : begin + len(active)])))  # type: ignore[misc]
            self._leaves[id(layer), active] = leaves[-1]
        self._built.append((built, leaves))

    def pending(self) -> list[tuple[Tensor, Tensor]]:
        """Return each built tensor whose leaves have a gradient, together with that gradient."""
        return [
            (built, _joined_gradients(leaves))
            for whole, parts in self._built
            for built, leaves in zip(
                whole.tensors(), zip(*(part.tensors() for part in parts), strict=True), strict=True
            )
            if any(leaf.grad is not None for leaf in leaves)
        ]

    def backward(self) -> None:
        """Add the gradients of all passes to the parameters' ``grad``; call it once, after the last pass."""
        pending = self.pending()
        torch.autograd.backward([built for built, _ in pending], [gradient for _, gradient in pending])

    def gradients(self, parameters: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        """Return the gradient of each of ``parameters``, summed over all passes; None for a parameter no pass has read.

        Call it in place of `backward`, to add the gradients up in few operations: a model has hundreds of small
        parameters, and `backward` adds to each one alone.
        """
        pending = self.pending()
        built, gradients = [tensor for tensor, _ in pending], [gradient for _, gradient in pending]
        return torch.autograd.grad(built, parameters, gradients, allow_unused=True)


def _joined_gradients(leaves: Sequence[Tensor]) -> Tensor:
    """Return the gradients of the leaves of all layers as one tensor; zeros for a layer that no pass has used."""
    gradients = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]
    return gradients[0] if len(gradients) == 1 else torch.cat(gradients)


def _unchanged(tensor: Tensor) -> Tensor:
    return tensor


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_(tensor.requires_grad)
