"""The merge gap: how far a lane's outputs are from those of its merged weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from d2lora.attachment import adapted_layers
from d2lora.layers.adapted import AdaptedLinear


@contextmanager
def as_merged(model: nn.Module) -> Iterator[None]:
    """Within: adapted layers compute with each lane's merged weight, as `d2lora.merge` writes it, without gradient.

    A merged weight is built when its layer is called and freed afterwards, so one dense weight is in memory at a time.
    """
    with ExitStack() as stack, torch.no_grad():
        for layer in adapted_layers(model).values():
            stack.callback(layer.register_forward_hook(_merged_output).remove)
        yield


def merge_gap(layer: AdaptedLinear, lane: int, x_NI: Tensor) -> float:
    """Return ``max |x What^T + bias - forward(x)|`` over rows of one lane, with What rounded to the weight's type."""
    alone = tuple(len(x_NI) * (index == lane) for index in range(len(layer.lanes)))
    with layer.batch_rows.temporarily(counts=alone, lengths=None), torch.no_grad():
        return float((_by_merged_weight(layer, lane, x_NI) - layer(x_NI)).abs().max())


def _merged_output(layer: AdaptedLinear, args: tuple[Tensor], output: Tensor) -> Tensor:
    """Replace a layer's output, as a forward hook: each lane's rows through the lane's merged weight."""
    (x,) = args
    counts = layer.rows_of_lanes(x)
    parts = enumerate(zip(torch.split(x, list(counts)), counts, strict=True))
    return torch.cat([_by_merged_weight(layer, lane, part) for lane, (part, count) in parts if count]).to(output)


def _by_merged_weight(layer: AdaptedLinear, lane: int, x: Tensor) -> Tensor:
    return linear(x, layer.effective_weight(lane).to(layer.weight.dtype), layer.bias)
