"""What adapted layers read and return while a batch goes through: gradients of effective weights, and merge gaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from d2lora.attachment import adapted_layers
from d2lora.layers.adapted import AdaptedLinear
from d2lora.norms.base_weight import at_least_float32

Seen = dict[str, tuple[Tensor, Tensor, tuple[int, ...]]]
"""By layer: its input and output, of shape (rows, ..., features), and how many of the rows belong to each lane."""


@contextmanager
def watched(model: nn.Module, names: Sequence[str]) -> Iterator[Seen]:
    """Within: keep what the named adapted layers read and return in the last pass."""
    seen: Seen = {}
    layers = adapted_layers(model)
    with ExitStack() as stack:
        for name in names:
            stack.callback(layers[name].register_forward_hook(_keep(seen, name)).remove)
        yield seen


def effective_gradients(loss: Tensor, seen: Seen) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Yield each lane that had rows with the gradient of ``loss`` by its effective weights, (O, I), by layer.

    ``sum_N dy x^T`` over the lane's rows, in float32 or better: exact, for a layer's output is a linear map of its
    input by that weight (where no dropout acts). One backward down to the first layer seen, which leaves the
    parameters' own gradients alone, then 2 N O I operations a layer; one lane's gradients are made at a time. The thin
    factors' gradients would not do: they are this one's products with ``up`` and ``down``, without its norm or its part
    along W. ``sum_N dy y`` would give that part, but the norm and the way back through a projection need all of it.
    """
    slopes = torch.autograd.grad(loss, [y for _, y, _ in seen.values()])
    lanes = len(next(iter(seen.values()))[2]) if seen else 0
    for lane in range(lanes):
        found = {}
        for (name, (x, _, counts)), dy in zip(seen.items(), slopes, strict=True):
            rows = slice(sum(counts[:lane]), sum(counts[: lane + 1]))
            if counts[lane]:
                x_NI, dy_NO = (at_least_float32(one[rows].detach().flatten(0, -2)) for one in (x, dy))
                found[name] = dy_NO.mT @ x_NI
        if found:
            yield lane, found


@contextmanager
def as_merged(model: nn.Module) -> Iterator[None]:
    """Within: adapted layers compute with each lane's merged weight, as `d2lora.merge` writes it.

    A weight is made when its layer is called and dropped after it, so that one dense weight is held at a time.
    Without gradient.
    """
    with ExitStack() as stack, torch.no_grad():
        for layer in adapted_layers(model).values():
            stack.callback(layer.register_forward_hook(_merged).remove)
        yield


def merge_gap(layer: AdaptedLinear, lane: int, x_NI: Tensor) -> float:
    """Return ``max |x What^T + bias - forward(x)|`` for rows of one lane, What rounded to the weight's own type."""
    alone = tuple(len(x_NI) * (index == lane) for index in range(len(layer.lanes)))
    with layer.batch_rows.temporarily(counts=alone, lengths=None), torch.no_grad():
        return float((_by_merged(layer, lane, x_NI) - layer(x_NI)).abs().max())


def _keep(seen: Seen, name: str) -> Any:
    def keep(layer: AdaptedLinear, args: tuple[Tensor], output: Tensor) -> None:
        seen[name] = args[0], output, _counts(layer, args[0])

    return keep


def _merged(layer: AdaptedLinear, args: tuple[Tensor], output: Tensor) -> Tensor:
    (x,) = args
    counts = _counts(layer, x)
    parts = enumerate(zip(torch.split(x, list(counts)), counts, strict=True))
    return torch.cat([_by_merged(layer, lane, part) for lane, (part, count) in parts if count]).to(output)


def _by_merged(layer: AdaptedLinear, lane: int, x: Tensor) -> Tensor:
    return linear(x, layer.effective_weight(lane).to(layer.weight.dtype), layer.bias)


def _counts(layer: AdaptedLinear, x: Tensor) -> tuple[int, ...]:
    """Return how much of the first dimension of ``x`` belongs to each lane: rows, or places where ``x`` is flat."""
    extents = layer.batch_rows.extents(len(layer.lanes), x.shape[:-1])
    rows = sum(count for count, _ in extents)
    return tuple(count * length if x.shape[0] != rows else count for count, length in extents)
