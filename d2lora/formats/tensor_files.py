"""Reads, checks and writes the two files of an adapter, tensors and JSON; the only file that imports safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def as_bytes(tensors: Mapping[str, Tensor], origin: object) -> bytes:
    """Return the tensors as the content of a safetensors file; ValueError, naming ``origin``, as in `check_tensors`."""
    from safetensors.torch import save

    check_tensors(tensors, origin)
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write the tensors into ``file``, whose folder is created if it is missing; ValueError as in `check_tensors`."""
    content = as_bytes(tensors, file.parent)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Return the tensors of ``file``, on the CPU.

    ValueError with the file's name if it cannot be read, and as in `check_tensors`.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(file.read_bytes())
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{file} cannot be read: {error}.") from error
    check_tensors(tensors, file.parent)
    return tensors


def read_json(file: Path) -> dict[str, Any]:
    """Return the JSON object in ``file``; ValueError with the file's name if it cannot be read or is no object."""
    try:
        value = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read: {error}.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{file} holds no JSON object.")
    return value


def check_tensors(tensors: Mapping[str, Tensor], origin: object) -> None:
    """Raise ValueError, naming ``origin``, if there are no tensors, or if a tensor is empty or not finite."""
    if not tensors:
        raise ValueError(f"{origin}: an adapter without tensors.")
    for name, tensor in tensors.items():
        if not tensor.numel():
            raise ValueError(f"{origin}: {name} is empty, as one read while ZeRO-3 had it scattered.")
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{origin}: {name} is not finite.")
