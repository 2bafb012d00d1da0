"""Reads, checks and writes the two files of an adapter, tensors and JSON; the only file that imports safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from d2lora.formats.header import HeaderError, read_header

LONGEST_JSON = 10_000_000
"""The longest description or config that is read, in bytes: of 100,000 adapted layers."""
SAVE = "Save or copy the adapter again."


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

    The header is checked first (`read_header`), so that no claim in it costs memory. ValueError with the file's name if
    it cannot be read, and as in `check_tensors`.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if not file.is_file():
            raise HeaderError("is no file.")
        _refuse_empty({name for name, tensor in read_header(file).items() if 0 in tensor["shape"]}, file.parent)
        tensors = load_file(file)
    except HeaderError as error:
        raise ValueError(f"{file} cannot be read: it {error} {SAVE}") from None
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{file} cannot be read: {error}. {SAVE}") from error
    check_tensors(tensors, file.parent)
    return tensors


def read_json(file: Path) -> dict[str, Any]:
    """Return the JSON object in ``file``; ValueError with the file's name if it cannot be read or is no object."""
    try:
        if not file.is_file():
            raise ValueError("it is no file")
        with file.open("rb") as stream:
            content = stream.read(LONGEST_JSON + 1)
        if len(content) > LONGEST_JSON:
            raise ValueError(f"it has more than {LONGEST_JSON:,} bytes")
        value = json.loads(content)
    except RecursionError:
        raise ValueError(f"{file} cannot be read: nested too deep. {SAVE}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read: {error}. {SAVE}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{file} holds no JSON object. {SAVE}")
    return value


def check_tensors(tensors: Mapping[str, Tensor], origin: object) -> None:
    """Raise ValueError, naming ``origin``, if there are no tensors, or if a tensor is empty or not finite."""
    if not tensors:
        raise ValueError(f"{origin}: an adapter without tensors. {SAVE}")
    _refuse_empty({name for name, tensor in tensors.items() if not tensor.numel()}, origin)
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{origin}: {name} is not finite. Take the adapter of another run.")


def _refuse_empty(names: Set[str], origin: object) -> None:
    if names:
        raise ValueError(f"{origin}: {min(names)} is empty, as one read while ZeRO-3 had it scattered. {SAVE}")
