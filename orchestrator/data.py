"""A task's splits in tokens, made once and kept under a hash of everything that they depend on."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from orchestrator.errors import InputError
from orchestrator.files import write_bytes
from orchestrator.splits import SplitReport, Splits, split_examples
from orchestrator.tokens import Array, Item, TokenisedSplit, Tokenizer, tokenise, tokenizer_digest

__all__ = [
    "CorruptCacheError",
    "Item",
    "Prepared",
    "SplitReport",
    "Splits",
    "TokenisedSplit",
    "Tokenizer",
    "load_prepared",
    "prepare",
    "split_examples",
    "tokenise",
]

FORMAT = 1
_SPLITS = ("train", "validation", "test")
_ARRAYS = ("tokens", "token_ends", "starts", "lengths", "choice_ends", "answers")
_log = logging.getLogger(__name__)


class CorruptCacheError(InputError):
    """A prepared file that is not what was written."""


@dataclass(frozen=True)
class Prepared:
    """Where a task's tokens are; ``fingerprint`` is the sha256 of their content and belongs in a run's key."""

    task: str
    path: Path
    fingerprint: str
    report: SplitReport
    truncated: dict[str, int]
    indistinct: dict[str, int]


def prepare(splits: Splits, tokenizer: Tokenizer, *, max_length: int, cache_dir: Path) -> Prepared:
    """Tokenise the splits, or find them in ``cache_dir``; a damaged file there is logged and made again."""
    key = _key(splits, tokenizer, max_length)
    path = cache_dir / f"{splits.task}-{key[:32]}.safetensors"
    if path.exists():
        try:
            return _prepared(splits, path, *_read(path))
        except CorruptCacheError as error:
            _log.warning("%s It is made again.", error)
    tokenised = {
        name: tokenise(examples, tokenizer, max_length, splits.places[name])
        for name, examples in splits.by_name().items()
    }
    fingerprint = _write(path, tokenised)
    return _prepared(splits, path, tokenised, fingerprint)


def load_prepared(path: Path) -> dict[str, TokenisedSplit]:
    """Return train, validation and test of a prepared file, each a sequence of `Item`; raise `CorruptCacheError`."""
    return _read(path)[0]


def _prepared(splits: Splits, path: Path, tokenised: Mapping[str, TokenisedSplit], fingerprint: str) -> Prepared:
    truncated = {name: split.truncated for name, split in tokenised.items()}
    indistinct = {name: split.indistinct for name, split in tokenised.items()}
    return Prepared(splits.task, path, fingerprint, splits.report, truncated, indistinct)


def _key(splits: Splits, tokenizer: Tokenizer, max_length: int) -> str:
    digest = hashlib.sha256(json.dumps([FORMAT, tokenizer_digest(tokenizer), max_length]).encode())
    for name, examples in splits.by_name().items():
        digest.update(f"\n{name} {len(examples)}\n".encode())
        for example in examples:
            digest.update(json.dumps([example.prompt, example.choices, example.answer]).encode())
    return digest.hexdigest()


def _tensors(tokenised: Mapping[str, TokenisedSplit]) -> dict[str, Array]:
    tensors = {f"{name}.{array}": getattr(tokenised[name], array) for name in _SPLITS for array in _ARRAYS}
    counts = [[tokenised[name].truncated, tokenised[name].indistinct] for name in _SPLITS]
    return {**tensors, "counts": np.array(counts, np.int64)}


def _fingerprint(tensors: Mapping[str, Array]) -> str:
    digest = hashlib.sha256(f"{FORMAT}".encode())
    for name in sorted(tensors):
        digest.update(f"\n{name} {tensors[name].dtype.str} {tensors[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()


def _write(path: Path, tokenised: Mapping[str, TokenisedSplit]) -> str:
    """Write a file that is there whole or not at all, whoever else writes it; return its fingerprint."""
    tensors = _tensors(tokenised)
    fingerprint = _fingerprint(tensors)
    content = save(tensors, {"written": f"{path.name} {fingerprint}"})  # one entry: their order is not fixed
    try:
        write_bytes(path, content)
    except OSError as error:
        raise InputError(
            f"Cannot write {path}: {error.strerror}. Make room there or choose another cache folder."
        ) from error
    return fingerprint


def _read(path: Path) -> tuple[dict[str, TokenisedSplit], str]:
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
