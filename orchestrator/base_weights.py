"""Whether a loaded base is fit to be adapted: its numbers are finite, and its layers compute what adapters take."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torch.nn import functional

from orchestrator.answers import distance, tolerance
from orchestrator.errors import InputError

CHUNK = 2**22  # numbers that are looked at together: their answers take as many bytes


def check_numbers(model: nn.Module) -> None:
    """Refuse a model with a weight that is not finite; it is named."""
    for name, weight in model.named_parameters():
        if not all(bool(part.isfinite().all()) for part in torch.split(weight.detach().flatten(), CHUNK)):
            raise InputError(
                f"{name} of the base holds numbers that are not finite: every score would be NaN. Fetch the model "
                "again, or take another base; of one stored in float16, look for its bfloat16 or float32 form."
            )


def check_layers(model: nn.Module, patterns: Iterable[str]) -> None:
    """Refuse targets among which is a layer of a class of its own that computes more than ``x @ W.T + b``.

    An adapter takes its place, and would leave out what else it does.
    """
    patterns = list(patterns)
    for name, layer in model.named_modules():
        if not isinstance(layer, nn.Linear) or not any(fnmatchcase(name, pattern) for pattern in patterns):
            continue
        if (type(layer) is nn.Linear and "forward" not in vars(layer)) or _is_linear(layer):
            continue
        raise InputError(
            f"{name} is a {type(layer).__name__}, which computes more than a linear layer: an adapter would leave that "
            "out. Name other layers in targets."
        )


def _is_linear(layer: nn.Linear) -> bool:
    draw = torch.Generator().manual_seed(0)
    x_2I = torch.randn(2, layer.in_features, generator=draw).to(layer.weight)
    with torch.no_grad():
        found = layer(x_2I)
        wanted_2O = functional.linear(x_2I, layer.weight, layer.bias)
    return isinstance(found, Tensor) and distance(found, wanted_2O) <= tolerance(layer.weight.dtype)
