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
from orchestrator.store.far_lease import far_driver, hold_far
from orchestrator.store.try_files import gets_lock

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
        if not gets_lock(file.fileno()) and (name := _holder(lease, file.fileno())):
            raise HeldError(f"{folder} is in use by {name}. Wait, or end it.")
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


def driver_of(folder: Path) -> tuple[str, float] | None:
    """Return the name of the driver that holds the lease of ``folder``, and when it took the lease; None if nobody.

    The time is in seconds since 1970, and 0 in an object store, where it is not known. Nothing is written but, in an
    object store, for an instant a file that tells the store's clock.
    """
    if objects.key_of(folder):
        name = far_driver(folder)
        return None if name is None else (name, 0.0)
    lease = folder / ".lease"
    try:
        with lease.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # given back at once: a driver that starts tries again
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return lease.read_text().strip() or "another process", lease.stat().st_mtime
    return None


def _holder(lease: Path, descriptor: int) -> str | None:
    """Return the name of the process that has just refused the lease to this process; None if this process has it now.

    A look by `driver_of` refuses the lease for an instant, so this process asks for it until it knows a name.
    """
    end = time.monotonic() + NAMING_SECONDS
    while time.monotonic() < end:
        time.sleep(NAMING_SECONDS / 10)  # the holder may have got the lock this instant, and write its name now
        if gets_lock(descriptor):
            return None
        if name := lease.read_text().strip():
            return name
    return "another process"
