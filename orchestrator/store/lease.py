"""One driver per sweep: a lock in the folder of a sweep, which the kernel releases when the process ends."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator import objects
from orchestrator.errors import HeldError
from orchestrator.store.far_lease import hold_far

NAMING_SECONDS = 1.0  # within this time the holder has written its name


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Within: this process is the only driver in ``folder``. HeldError names the process that holds the lock.

    The lock is on a regular file, so on NFS it holds between nodes; `store.trial` has tried that the storage has locks.
    In an object store it is a lease object (`store.far_lease`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    if objects.key_of(folder):
        with hold_far(folder, holder()):
            yield
        return
    lease = folder / ".lease"
    with lease.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HeldError(f"{folder} is in use by {_holder(lease)}. Wait, or end it.") from None
        file.truncate(0)
        file.write(holder())
        file.flush()
        os.fsync(file.fileno())
        try:
            yield
        finally:
            file.truncate(0)  # so that nobody takes this process for the next holder


def holder() -> str:
    """Return how this process is named to others that want the lease."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def _holder(lease: Path) -> str:
    """Return the name of the process that has just refused the lease to this process."""
    end = time.monotonic() + NAMING_SECONDS
    while time.monotonic() < end:
        time.sleep(NAMING_SECONDS / 10)  # the holder may have got the lock this instant, and write its name now
        if name := lease.read_text().strip():
            return name
    return "another process"
