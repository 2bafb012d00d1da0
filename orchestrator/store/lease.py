"""One driver a sweep: a lock on its folder that ends with the process, however it ends."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class HeldError(RuntimeError):
    """Somebody else works on this sweep; jobs exit with 75."""


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Within: this process is the only one that works in ``folder``; HeldError names who else does."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lease").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise HeldError(
                f"{folder} is in use by {file.read().strip() or 'another process'}. Wait, or end it."
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
