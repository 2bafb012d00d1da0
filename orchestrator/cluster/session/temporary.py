"""Temporary folders that a killed process cannot remove: the next process that makes one removes them.

Each folder has a file whose lock the process holds that made the folder. The kernel releases the lock when the process
ends, however it ends. A process id in a name would not do: ids are given again, and containers that share /tmp have
the same ones.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

LOCK = ".in-use"
_held: dict[Path, IO[bytes]] = {}


def make_temporary(prefix: str, place: str | None = None) -> Path:
    """Make a folder of mode 0700 in ``place`` (the system's by default) that `remove_abandoned` leaves alone.

    It is in use until `remove_temporary`, or until this process ends.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    draft = folder / f"{LOCK}.new"
    file = draft.open("wb")
    fcntl.flock(file, fcntl.LOCK_EX)
    draft.rename(folder / LOCK)  # so that there is no instant at which the file is there without its lock
    _held[folder] = file
    return folder


def remove_temporary(folder: Path) -> None:
    """Remove a folder that this process has made."""
    shutil.rmtree(folder, ignore_errors=True)
    if file := _held.pop(folder, None):
        file.close()


def remove_abandoned(prefix: str, place: str | None = None) -> int:
    """Remove the folders of processes of this user that have ended; return how many there were.

    A folder without a lock file is left alone: another program, or an earlier version, has made it.
    """
    removed = 0
    for folder in Path(place or tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):  # it is in use, or another driver removes it at the same time
            about = folder.lstat()
            if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
                continue
            with os.fdopen(os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
    return removed
