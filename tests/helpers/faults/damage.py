"""Change a file in one of the ways in which disks and copies change files."""

from __future__ import annotations

import random
from pathlib import Path

KINDS = ("flip", "cut", "zeros", "longer")


def damage(file: Path, drawn: random.Random, kind: str | None = None) -> str:
    """Flip a bit of a file, cut it off, fill its end with zeros or add bytes; return which (one of KINDS)."""
    content, kind = bytearray(file.read_bytes()), kind or drawn.choice(KINDS)
    at = drawn.randrange(len(content))
    match kind:
        case "flip":
            content[at] ^= 1 << drawn.randrange(8)
        case "cut":
            del content[at:]
        case "zeros":
            content[at:] = bytes(len(content) - at)
        case "longer":
            content += drawn.randbytes(3)
    if bytes(content) == file.read_bytes():  # zeros where zeros were
        content[at] ^= 1
    file.write_bytes(bytes(content))
    return kind
