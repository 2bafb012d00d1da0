"""A base's files on disk, before a model is loaded: which files hold its weights, and whether they are whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from d2lora.formats.header import HeaderError, read_header
from orchestrator.errors import InputError
from orchestrator.files import read_json

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
"""The names of a base's weights: one file, or the index of several files. Transformers loads the first that exists."""
BESIDE = ("generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
"""The files that transformers reads beside config and weights."""
LFS = b"version https://git-lfs"
"""The first bytes of a git-lfs pointer."""
FETCH = "Fetch or copy the model's directory again."
_POINTER = "is a git-lfs pointer, not the file itself. Run `git lfs pull` in its directory."


@dataclass(frozen=True)
class StoredWeights:
    """The weights of a base on disk: their ``files``, and ``dtype``, the type of most of their numbers ("F16")."""

    files: tuple[Path, ...]
    dtype: str


def read_config(path: Path) -> dict[str, Any]:
    """Return the content of the base's config.json; InputError if the file is missing or holds no JSON object."""
    file = path / "config.json"
    if not file.is_file():
        raise InputError(_no_model(path))
    config = read_json(file)
    if not isinstance(config, dict):
        raise InputError(f"{file} {_not_json(file)}")
    return config


def stored_weights(path: Path) -> StoredWeights:
    """Return the weights of the base at ``path``, after reading the header of every file.

    InputError names the first file that is missing, cut short, a git-lfs pointer, or no safetensors file.
    """
    single, index = path / SINGLE, path / INDEX
    if single.is_file():
        named: Mapping[Path, list[str]] = {single: []}
    elif index.is_file():
        named = _indexed(index)
    else:
        raise InputError(_no_model(path))
    numbers: Counter[str] = Counter()
    for file, names in named.items():
        tensors = _header(file)
        lost = [name for name in names if name not in tensors]
        if lost:
            raise InputError(
                f"{file} does not hold {lost[0]}, which {index.name} promises there ({len(lost)} such names). {FETCH}"
            )
        for tensor in tensors.values():
            numbers[tensor["dtype"]] += prod(tensor["shape"])
    if not numbers:
        raise InputError(f"{', '.join(map(str, named))} holds no tensor. {FETCH}")
    return StoredWeights(tuple(named), numbers.most_common(1)[0][0])


def check_json(path: Path) -> None:
    """Raise InputError with the file's name if a file of `BESIDE` is damaged; the file may be missing."""
    for name in BESIDE:
        if (path / name).is_file() and not isinstance(read_json(path / name), dict):
            raise InputError(f"{path / name} {_not_json(path / name)}")


def _no_model(path: Path) -> str:
    there = ", ".join(sorted(file.name for file in path.iterdir())[:8]) or "nothing"
    sentences = f"{path} holds no model: config.json and {SINGLE} (or {INDEX}) are needed, there is {there}."
    dangling = [file.name for file in path.iterdir() if file.is_symlink() and not file.exists()]
    if dangling:
        sentences += f" {dangling[0]} is a link to nothing. {FETCH}"
    if any(path.glob("*.bin")):
        sentences += (
            " Weights in *.bin are not read, because they may hold code; convert them where you trust them: "
            "AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(NEW)."
        )
    return sentences


def _not_json(file: Path) -> str:
    with file.open("rb") as stream:
        pointer = stream.read(len(LFS)) == LFS
    return _POINTER if pointer else f"is not JSON with names and values. {FETCH}"


def _indexed(index: Path) -> dict[Path, list[str]]:
    """Return, by file, the names of the tensors that the index says the file holds."""
    content = read_json(index)
    file_of = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(file_of, dict) or not file_of or not all(isinstance(name, str) for name in file_of.values()):
        raise InputError(f"{index} {_not_json(index)} It should say in weight_map which file holds which tensor.")
    named: dict[Path, list[str]] = {index.parent / name: [] for name in sorted(set(file_of.values()))}
    missing = [file.name for file in named if not file.is_file()]
    if missing:
        raise InputError(
            f"{index} names {len(named)} files, and {len(missing)} of them are not there: {', '.join(missing[:4])}. "
            f"{FETCH}"
        )
    for tensor, name in file_of.items():
        named[index.parent / name].append(tensor)
    return named


def _header(file: Path) -> dict[str, Any]:
    """Return the header of a safetensors file by tensor name; InputError if the file is not a whole one."""
    try:
        with file.open("rb") as stream:
            head = stream.read(8 + len(LFS))
        if LFS in (head[: len(LFS)], head[8:]):
            raise InputError(f"{file} {_POINTER}")
        return read_header(file)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}. {FETCH}") from error
    except HeaderError as error:
        raise InputError(f"{file} {error} {FETCH}") from None
