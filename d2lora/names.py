"""Names: which layers a pattern means, and the one message for a name that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from fnmatch import fnmatchcase


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return ``Unknown method 'dorra'. Did you mean 'dora'? Known: d2lora, dora, lora.``"""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"Unknown {kind} {name!r}.{hint} Known: {', '.join(names)}."


def matching(names: Iterable[str], pattern: str) -> list[str]:
    """Return the layers among ``names`` that ``pattern`` means, in order; ``*`` stands for anything.

    A whole name means that layer alone. Else ``q_proj``, without dot or star, means ``*.q_proj``.

    >>> matching(["layers.0.q_proj", "layers.1.q_proj", "head"], "q_proj")
    ['layers.0.q_proj', 'layers.1.q_proj']
    """
    names = list(names)
    if pattern in names:
        return [name for name in names if name == pattern]
    last_part = not set(pattern) & set(".*")
    return [name for name in names if fnmatchcase(name.rpartition(".")[2] if last_part else name, pattern)]


def last_parts(names: Iterable[str]) -> str:
    """Return the patterns that mean all of ``names``, for a message: ``k_proj, q_proj``."""
    return ", ".join(sorted({name.rpartition(".")[2] for name in names}))
