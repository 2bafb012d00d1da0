"""The files of a sweep by name, with size and age, from a disk or from an object store; nothing is copied."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from orchestrator import objects

Descend = Callable[[str, Collection[str]], bool]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a folder: its ``size`` in bytes (0 of a folder) and when it was ``modified``, in seconds since 1970."""

    size: int
    modified: float


Inventory = dict[str, Entry]
"""By the path relative to the sweep's folder, with slashes; the name of a folder ends with a slash."""


def inventory(folder: Path, descend: Descend = lambda _folder, _beside: True) -> Inventory:
    """Return what lies below ``folder``, without following links; {} if the folder is not there.

    ``descend`` gets the relative path of each folder, with its slash, and the names of all that lies beside it; where
    it returns False the folder is named, and its content is not. An object store has no folders and lists everything.
    OSError if the storage cannot be read.
    """
    if objects.key_of(folder):
        return {name: Entry(size, modified) for name, (size, modified) in objects.listed(folder).items()}
    entries: Inventory = {}
    pending = [""]
    while pending:
        here = pending.pop()
        try:
            listed = list(os.scandir(folder / here))
        except FileNotFoundError:  # removed since it was listed, or never there
            continue
        names = {entry.name for entry in listed}
        for entry in listed:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            name = f"{here}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                entries[f"{name}/"] = Entry(0, status.st_mtime)
                if descend(f"{name}/", names):
                    pending.append(f"{name}/")
            else:
                entries[name] = Entry(status.st_size, status.st_mtime)
    return entries


def content(file: Path) -> bytes:
    """Return the content of a file of a sweep, from the object store if there is one; FileNotFoundError without it."""
    return objects.get(file) if objects.key_of(file) else file.read_bytes()


def last_line(file: Path, most: int = 1 << 16) -> bytes:
    """Return the last whole line of a file on disk, of at most ``most`` bytes; empty if there is no such line."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - most))
            lines = stream.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return b""
    return lines[-1] if lines else b""
