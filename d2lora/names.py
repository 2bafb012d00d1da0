"""Which layers a pattern matches, and the message for an unknown name, with the nearest known one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from fnmatch import fnmatchcase


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message for a ``name`` that is not among ``known``; ``kind`` is the kind of thing, such as "method".

    >>> unknown("method", "dorra", ["lora", "dora"])
    "Unknown method 'dorra'. Did you mean 'dora'? Known: dora, lora."
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"Unknown {kind} {name!r}.{hint} Known: {', '.join(names)}."


def matching(names: Iterable[str], pattern: str) -> list[str]:
    """Return the layers among ``names`` that ``pattern`` matches, in order; ``*`` stands for any text.

    A pattern that is a whole name matches only that name. Any other pattern without dot or star matches the last part
    of names: ``q_proj`` means ``*.q_proj``.

    >>> matching(["layers.0.q_proj", "layers.1.q_proj", "head"], "q_proj")
    ['layers.0.q_proj', 'layers.1.q_proj']
    """
    names = list(names)
    if pattern in names:
        return [name for name in names if name == pattern]
    last_part = not set(pattern) & set(".*")
    return [name for name in names if fnmatchcase(name.rpartition(".")[2] if last_part else name, pattern)]


def last_parts(names: Iterable[str]) -> str:
    """Return the last parts of ``names``, for a message: patterns that together match all of them.

    >>> last_parts(["layers.0.q_proj", "layers.1.q_proj", "layers.0.k_proj"])
    'k_proj, q_proj'
    """
    return ", ".join(sorted({name.rpartition(".")[2] for name in names}))
