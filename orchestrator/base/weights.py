"""Check that a loaded base can be adapted: its numbers are finite, and its target layers can carry adapters."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from d2lora.layers.adaptable import UnadaptableError, match_targets
from orchestrator.base.targets import choices
from orchestrator.errors import InputError

CHUNK = 2**22
"""The number of weights that are checked together; the result of the check takes as many bytes."""


def check_numbers(model: nn.Module) -> None:
    """Raise InputError if a weight of the model is not finite; the error names the weight."""
    for name, weight in model.named_parameters():
        if not all(bool(part.isfinite().all()) for part in torch.split(weight.detach().flatten(), CHUNK)):
            raise InputError(
                f"{name} of the base holds numbers that are not finite: every score would be NaN. Fetch the model "
                "again, or take another base; of one stored in float16, look for its bfloat16 or float32 form."
            )


def check_layers(model: nn.Module, patterns: Iterable[str]) -> None:
    """Raise InputError if targets name a layer that `d2lora.attach` would refuse; the error names layer and reason.

    The library's own advice is for somebody who builds the model. The error here advises another target or another
    base, because a recipe can choose these.
    """
    try:
        match_targets(model, list(patterns))
    except UnadaptableError as error:
        raise InputError(f"targets: {error.reason} {choices(model)}") from None
    except ValueError as error:
        raise InputError(f"targets: {error}") from None
