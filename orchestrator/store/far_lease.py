"""One driver per sweep in an object store: a lease with a term, renewed by its holder and taken when it is over.

The lease is the object with the highest number in ``.lease/``. To take it is to create the next number, which only one
driver can; the number is the fencing token. Ages are measured by the store's clock alone.
"""

from __future__ import annotations

import json
import logging
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from orchestrator import objects
from orchestrator.errors import HeldError

_log = logging.getLogger(__name__)

TERM_SECONDS, RENEWALS = 120.0, 6
"""How long a lease lasts without a renewal, and how often it is renewed in that time."""
TRIES = 5


@contextmanager
def hold_far(folder: Path, name: str) -> Iterator[None]:
    """Within: this process, called ``name``, is the only driver of the sweep in ``folder``.

    HeldError names the holder; it is also raised when the lease is lost meanwhile. A lost lease interrupts the main
    thread, also in a process that was started to ignore Ctrl-C, as shells start what they put into the background.
    """
    lease = _Lease(folder / ".lease", name)
    lease.take()
    renewing = threading.Thread(target=lease.keep, name="lease", daemon=True)
    try:
        with _interruptible():
            renewing.start()
            yield
    except KeyboardInterrupt:  # from `keep`, or from a person
        if not lease.lost:
            raise
    finally:
        lease.done.set()
        renewing.join()
        with suppress(OSError), objects.patience(10.0):
            lease.release()
    if lease.lost:  # another driver works on the sweep, whatever this one has done since
        raise HeldError(f"{folder}: {lease.lost} The same command goes on later.")


def far_driver(folder: Path) -> str | None:
    """Return the name of the driver that holds the lease of the sweep in ``folder``; None if nobody holds it."""
    return _Lease(folder / ".lease", "").driver()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Within: SIGINT raises KeyboardInterrupt, if it was ignored before; only the main thread can set that."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if not (ignored and threading.current_thread() is threading.main_thread()):
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Lease:
    """The lease objects in ``place``, and the number that this process holds."""

    def __init__(self, place: Path, name: str) -> None:
        self._place, self._name, self._token = place, name, secrets.token_hex(8)
        self._number = 0
        self.lost, self.done = "", threading.Event()

    def take(self) -> None:
        """Create the next number, if the newest is released or over; HeldError names who holds it."""
        for _ in range(TRIES):
            with suppress(FileNotFoundError):  # another driver has taken the lease since it was listed
                return self._take()
        raise self._held_by({})

    def _take(self) -> None:
        newest = self._newest()
        if newest:
            holder = self._read(newest)
            if not holder["released"] and self._age(newest) < TERM_SECONDS:
                raise self._held_by(holder)
        if not objects.create(self._file(newest + 1), self._content(released=False)):
            raise self._held_by(self._read(newest + 1))
        self._number = newest + 1
        for number in range(max(1, newest - 2), newest + 1):
            objects.remove(self._file(number))

    def driver(self) -> str | None:
        """Return who holds the lease; None if nobody does."""
        with suppress(FileNotFoundError):  # a driver has taken or given back the lease since it was listed
            newest = self._newest()
            holder = self._read(newest) if newest else {"released": True}
            if not holder["released"] and self._age(newest) < TERM_SECONDS:
                return str(holder["holder"])
        return None

    def keep(self) -> None:
        """Renew until `done`; interrupt the main thread if the lease is lost."""
        while not self.done.wait(TERM_SECONDS / RENEWALS):
            try:
                with objects.patience(TERM_SECONDS / RENEWALS):
                    newest = self._newest()
                    if newest == self._number:
                        self._write(released=False)
                        continue
                    self.lost = f"the lease was taken by {self._read(newest)['holder']}."
            except Exception as error:  # of any kind: a store that fails gives the lease to nobody else either
                _log.warning("The lease could not be renewed: %r", error)
                continue
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            return

    def release(self) -> None:
        """Let the next driver take the lease at once, if this process still holds it."""
        if not self.lost and self._newest() == self._number:
            self._write(released=True)

    def _newest(self) -> int:
        return max((int(name) for name in objects.sizes(self._place) if name.isdigit()), default=0)

    def _age(self, number: int) -> float:
        """Return the seconds since the last renewal, by the store's clock."""
        clock = self._place / f"clock-{self._token}"
        objects.create(clock, b"now")
        now = objects.modified(clock)
        objects.remove(clock)
        return now - objects.modified(self._file(number))

    def _read(self, number: int) -> dict[str, Any]:
        """Return the content of a lease; FileNotFoundError if it is gone."""
        content: dict[str, Any] = json.loads(objects.get(self._file(number)))
        return {"holder": "another process", "released": False} | content

    def _write(self, *, released: bool) -> None:
        objects.replace(self._file(self._number), self._content(released=released))

    def _content(self, *, released: bool) -> bytes:
        return json.dumps({"holder": self._name, "token": self._token, "released": released}).encode()

    def _file(self, number: int) -> Path:
        return self._place / f"{number:08d}"

    def _held_by(self, holder: dict[str, Any]) -> HeldError:
        name = holder.get("holder", "another process")
        return HeldError(
            f"{self._place.parent} is in use by {name}. Wait, or end it; if it was killed, its lease ends within "
            f"{TERM_SECONDS:.0f} seconds."
        )
