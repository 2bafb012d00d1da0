"""Whether a loaded base is fit to be adapted: its numbers are finite, and its layers compute what adapters take."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from d2lora.layers.adaptable import UnadaptableError, match_targets
from orchestrator.base.targets import choices
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
    """Refuse targets among which is a layer that `d2lora.attach` would refuse; it is named, with the reason.

    The library's advice is for whoever builds the model; a recipe can take another target or another base.
    """
    try:
        match_targets(model, list(patterns))
    except UnadaptableError as error:
        raise InputError(f"targets: {error.reason} {choices(model)}") from None
    except ValueError as error:
        raise InputError(f"targets: {error}") from None
