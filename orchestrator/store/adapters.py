"""Write, read and compare the adapter in a run's folder, in the file format of `d2lora.formats.directory`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from d2lora.formats.directory import DESCRIPTION, TENSORS, read_own
from d2lora.formats.tensor_files import as_bytes
from orchestrator.errors import RunError
from orchestrator.files import write_bytes, write_json


@dataclass(frozen=True)
class AdapterFile:
    """The tensors of an adapter by name, and its description.

    The description has the keys method, config, layers, base and targets; ``base`` is the base's fingerprint.
    """

    state: dict[str, Tensor]
    description: dict[str, Any]


def save_adapter(folder: Path, state: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write the adapter and read it back; RunError if the adapter is empty, not finite, or reads back differently."""
    try:
        content = as_bytes(state, folder)
    except ValueError as error:
        raise RunError(str(error)) from None
    write_bytes(folder / TENSORS, content)
    write_json(folder / DESCRIPTION, dict(description))
    again = load_adapter(folder, str(description["base"])).state
    if again.keys() != state.keys() or any(not torch.equal(again[name], state[name].detach().cpu()) for name in state):
        raise RunError(f"{folder / TENSORS} reads back differently from what was written.")


def load_adapter(folder: Path, base: str) -> AdapterFile:
    """Return the adapter in ``folder``; RunError if it cannot be read, or if ``base`` is not its base's fingerprint."""
    try:
        description, state = read_own(folder, needs=("method", "config", "layers", "base"))
    except ValueError as error:
        raise RunError(str(error)) from error
    if description["base"] != base:
        raise RunError(
            f"{folder} was trained on another base ({str(description['base'])[:12]}, not {base[:12]}): "
            "give the model that it was trained on."
        )
    return AdapterFile(state, description)
