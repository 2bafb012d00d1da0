"""Refuses a sweep's folder in which a link leads out of its storage: what a sweep writes stays below its storage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from orchestrator.errors import InputError

DEPTH = 4  # the sweep, runs, the run, its adapter: below lie files that are never opened for writing


def refuse_links_out(sweep: Path) -> None:
    """Raise InputError if ``sweep``, or a file or folder in it, is a link that leads out of the sweep's parent folder.

    The parent, which is the storage that a recipe names, may itself be a link. Links within it are followed.
    """
    storage = sweep.parent.resolve()
    for path in (sweep, *_links(sweep, DEPTH)):
        if path.is_symlink():
            target = path.resolve(strict=False)
            if not target.is_relative_to(storage):
                raise InputError(
                    f"{path} is a link to {target}, out of the storage {storage}. Put the folder itself there, or give "
                    "storage= the place where it lies."
                )


def _links(folder: Path, depth: int) -> Iterator[Path]:
    """Yield every link below ``folder``, without following one."""
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_symlink():
            yield Path(entry.path)
        elif depth > 1 and entry.is_dir(follow_symlinks=False) and entry.name != ".ray":
            yield from _links(Path(entry.path), depth - 1)
