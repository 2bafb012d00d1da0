"""Tokens on disk: the three splits of a task as one safetensors file, which names the sha256 of its own content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from orchestrator.data.tokens import Array, TokenisedSplit
from orchestrator.errors import CorruptCacheError, InputError
from orchestrator.files import write_bytes

FORMAT = 2
"""The version of the files and of the tokens in them: since 2, all choices of an item start at one position."""
_SPLITS = ("train", "validation", "test")
_ARRAYS = ("tokens", "token_ends", "starts", "lengths", "choice_ends", "answers", "end", "appended")
_COUNTS = ("truncated", "indistinct", "refused")


def _tensors(tokenised: Mapping[str, TokenisedSplit]) -> dict[str, Array]:
    """Return the arrays and counts of all splits, by their names in the file."""
    tensors = {f"{name}.{array}": getattr(tokenised[name], array) for name in _SPLITS for array in _ARRAYS}
    counts = [[getattr(tokenised[name], count) for count in _COUNTS] for name in _SPLITS]
    return {**tensors, "counts": np.array(counts, np.int64)}


def _fingerprint(tensors: Mapping[str, Array]) -> str:
    """Return the sha256 over names, types, shapes and numbers of the tensors."""
    digest = hashlib.sha256(f"{FORMAT}".encode())
    for name in sorted(tensors):
        digest.update(f"\n{name} {tensors[name].dtype.str} {tensors[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()


def write_tokens(path: Path, tokenised: Mapping[str, TokenisedSplit]) -> str:
    """Write train, validation and test to a file; return the fingerprint of their content.

    The file appears whole or not at all, even if several processes write it. InputError if the disk refuses it.
    """
    tensors = _tensors(tokenised)
    fingerprint = _fingerprint(tensors)
    content = save(tensors, {"written": f"{path.name} {fingerprint}"})  # one entry: several have no fixed order
    try:
        write_bytes(path, content)
    except OSError as error:
        raise InputError(
            f"Cannot write {path}: {error.strerror}. Make room there or choose another cache folder."
        ) from error
    return fingerprint


def read_tokens(path: Path) -> tuple[dict[str, TokenisedSplit], str]:
    """Return train, validation and test, and the fingerprint of their content.

    CorruptCacheError if the file is damaged.
    """
    remedy = "Delete the file and start again: it is made anew."
    try:
        with safe_open(path, framework="numpy") as file:
            written = (file.metadata() or {}).get("written")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise CorruptCacheError(f"{path} cannot be read ({error}). {remedy}") from None
    fingerprint = _fingerprint(tensors)
    if written != f"{path.name} {fingerprint}":
        raise CorruptCacheError(f"{path} is not what was written: its content has sha256 {fingerprint[:12]}. {remedy}")
    counts = tensors["counts"].tolist()
    tokenised = {
        name: TokenisedSplit(*(tensors[f"{name}.{array}"] for array in _ARRAYS), *counts[row])
        for row, name in enumerate(_SPLITS)
    }
    return tokenised, fingerprint
