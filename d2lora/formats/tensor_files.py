"""The two files of an adapter, tensors and JSON, read and checked; the one door to safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def as_bytes(tensors: Mapping[str, Tensor], origin: object) -> bytes:
    """Return the file's content; ValueError, naming ``origin``, for tensors that no trained adapter has."""
    from safetensors.torch import save

    check_tensors(tensors, origin)
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write the tensors into ``file``, whose folder is made if it is missing."""
    content = as_bytes(tensors, file.parent)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Return the tensors of ``file``, on the CPU; ValueError with its name if it cannot be read or is no adapter's."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(file.read_bytes())
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{file} cannot be read: {error}.") from error
    check_tensors(tensors, file.parent)
    return tensors


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in ``file``; ValueError with its name if it cannot be read or holds something else."""
    try:
        value = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read: {error}.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{file} holds no JSON object.")
    return value


def check_tensors(tensors: Mapping[str, Tensor], origin: object) -> None:
    """Refuse no tensors, and those that are empty or not finite."""
    if not tensors:
        raise ValueError(f"{origin}: an adapter without tensors.")
    for name, tensor in tensors.items():
        if not tensor.numel():
            raise ValueError(f"{origin}: {name} is empty, as one read while ZeRO-3 had it scattered.")
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{origin}: {name} is not finite.")
