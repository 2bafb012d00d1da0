"""An adapter on disk: safetensors and a JSON description, written, read back and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from orchestrator.errors import RunError
from orchestrator.files import read_json, write_bytes, write_json

TENSORS, DESCRIPTION = "adapter.safetensors", "adapter.json"


@dataclass(frozen=True)
class AdapterFile:
    """The tensors, and ``{"method", "config", "layers", "base", "targets"}``; ``base`` is the base's fingerprint."""

    state: dict[str, Tensor]
    description: dict[str, Any]


def save_adapter(folder: Path, state: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write the adapter and read it back; RunError if it is empty, not finite, or not what was meant."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    _check(tensors, folder)
    write_bytes(folder / TENSORS, save(tensors))
    write_json(folder / DESCRIPTION, dict(description))
    again = load_adapter(folder, str(description["base"]))
    if again.state.keys() != tensors.keys() or any(
        not torch.equal(again.state[name], tensors[name]) for name in tensors
    ):
        raise RunError(f"{folder / TENSORS} reads back differently from what was written.")


def load_adapter(folder: Path, base: str) -> AdapterFile:
    """Return the adapter in ``folder``; RunError if it cannot be read or belongs to another base than ``base``."""
    description = read_json(folder / DESCRIPTION)
    if not isinstance(description, dict) or not {"method", "config", "layers", "base"} <= description.keys():
        raise RunError(f"{folder / DESCRIPTION} is missing or no adapter's description.")
    if description["base"] != base:
        raise RunError(
            f"{folder} was trained on another base ({str(description['base'])[:12]}, not {base[:12]}): "
            "give the model that it was trained on."
        )
    try:
        state = load((folder / TENSORS).read_bytes())
    except (OSError, SafetensorError) as error:
        raise RunError(f"{folder / TENSORS} cannot be read: {error}.") from error
    _check(state, folder)
    return AdapterFile(state, description)


def _check(tensors: Mapping[str, Tensor], folder: Path) -> None:
    if not tensors:
        raise RunError(f"{folder}: an adapter without tensors.")
    for name, tensor in tensors.items():
        if not tensor.numel():
            raise RunError(f"{folder}: {name} is empty, as one read while ZeRO-3 had it scattered.")
        if not tensor.isfinite().all():
            raise RunError(f"{folder}: {name} is not finite.")
