"""One driver per sweep: a lock on the folder of a sweep, which the kernel releases when the process ends."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.errors import HeldError


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Within: this process is the only driver in ``folder``. HeldError names the process that holds the lock."""
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
