"""Pure: how many tokens the layers of an architecture look back, read from its configuration."""

from __future__ import annotations

import math
from typing import Any

FULL = {"full_attention", "sliding_attention", "chunked_attention", "attention"}
"""The kinds of layers that see earlier tokens by attention alone; other kinds carry a state from token to token."""
SIZES = ("sliding_window", "attention_chunk_size", "window_size", "attention_window_size", "local_attention")
"""The names that architectures give to the number of tokens that a layer with a window sees."""


def shortest_window(config: Any) -> float:
    """Return the smallest number of tokens that any layer looks back, the token itself included.

    The number is infinite without windows. The number is 0 for an architecture with windows of unknown size, or with
    layers that carry a state, such as recurrent layers.
    """
    text = config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ())
    if kinds - FULL:
        return 0
    if kinds and kinds <= {"full_attention", "attention"}:
        return math.inf
    sizes = [size for name in SIZES if isinstance(size := getattr(text, name, None), int) and size > 0]
    if kinds and not sizes:
        return 0
    return min(sizes, default=math.inf)
