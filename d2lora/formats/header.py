"""The header of a safetensors file, read and checked before a byte of its tensors: cheap, whatever the file claims."""

from __future__ import annotations

import json
import struct
from math import prod
from pathlib import Path
from typing import Any

BITS = {"F64": 64, "I64": 64, "F32": 32, "I32": 32, "F16": 16, "BF16": 16, "I16": 16, "I8": 8, "U8": 8, "BOOL": 8}
"""The bits of one number of each type; a file may have types beside these, whose sizes are not checked."""
LONGEST_HEADER, LONGEST_NAME = 16_000_000, 1000
"""The longest header that is read, in bytes, of about 100,000 tensors; and the longest name, in characters."""
MOST_SIDES = 16
"""The most sides of a tensor: the product of more could take minutes to compute."""


class HeaderError(ValueError):
    """A file that is no safetensors file, or not a whole one; the message follows the file's name."""


def read_header(file: Path) -> dict[str, Any]:
    """Return the header of a safetensors file by tensor name.

    HeaderError if the file is longer or shorter than its header says, or if the header is too long, no JSON, or names
    places outside of the file, places that overlap, or places of another size than type and shape need. OSError if the
    file cannot be read.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else LONGEST_HEADER + 1
        if length > LONGEST_HEADER:
            raise HeaderError("is not a safetensors file: it does not begin with a header.")
        if length > size - 8:
            raise HeaderError(f"is cut short within its header, at {size:,} bytes.")
        content = stream.read(length)
    tensors = _parsed(content)
    promised = 8 + length + _end_of(tensors)
    if size != promised:
        kind = "is cut short" if size < promised else "is too long"
        raise HeaderError(f"{kind}: its header promises {promised:,} bytes, it has {size:,}.")
    return tensors


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        tensors = json.loads(content, object_pairs_hook=_each_name_once)
        tensors.pop("__metadata__", None)
        for name, tensor in tensors.items():
            _check(name, tensor)
    except RecursionError:
        raise HeaderError("is not a safetensors file: its header is damaged (nested too deep).") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HeaderError(f"is not a safetensors file: its header is damaged ({str(error)[:200]}).") from None
    return dict(tensors)


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tensors = dict(pairs)
    if len(tensors) != len(pairs):
        raise ValueError("a name stands there twice")
    return tensors


def _check(name: str, tensor: dict[str, Any]) -> None:
    """Raise an error of any of the four types that `_parsed` expects, if a tensor's entry contradicts itself."""
    (begin, end), dtype, shape = tensor["data_offsets"], tensor["dtype"], tensor["shape"]
    whole = all(type(number) is int and 0 <= number < 2**63 for number in (begin, end, *shape))
    if not (isinstance(dtype, str) and whole and len(shape) <= MOST_SIDES and len(name) <= LONGEST_NAME):
        raise ValueError(f"{name[:80]!r} is without type, shape and place")
    if dtype in BITS and 8 * (end - begin) != prod(shape) * BITS[dtype]:
        raise ValueError(f"{shape} of {dtype} are not {end - begin} bytes")


def _end_of(tensors: dict[str, Any]) -> int:
    """Return where the last tensor ends; HeaderError for a hole between tensors, or for tensors that overlap."""
    position = 0
    for begin, end in sorted(tuple(tensor["data_offsets"]) for tensor in tensors.values()):
        if begin != position or end < begin:
            raise HeaderError("is not a safetensors file: its header is damaged (tensors overlap, or leave a hole).")
        position = end
    return position
