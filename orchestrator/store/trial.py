"""Storage is tried before anything is trained, by the driver and by workers, each on its own node.

The driver makes a trial, and hands its `from_worker` to one worker per node:

    with StorageTrial(storage) as trial:
        trial.check(cluster.call(trial.from_worker, storage))
"""

from __future__ import annotations

import fcntl
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from orchestrator import objects
from orchestrator.errors import InputError
from orchestrator.files import sync_file
from orchestrator.store.try_files import ANSWER, KINDS, PREFIX, gets_lock, place_of, tried_folder, try_storage
from orchestrator.store.try_objects import PATIENCE_SECONDS, tried_store

HELD = "held"
STALE_SECONDS = 3600.0  # a folder of a trial that is older was left by a killed driver


class StorageTrial:
    """A trial of the folder ``storage``; within the ``with`` block workers can take part in it."""

    def __init__(self, storage: Path) -> None:
        self._storage, self._nonce = storage, secrets.token_hex(8)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Try every call on this machine: InputError names the call that does not hold, the folder and the remedy."""
        with self._open:
            self._open.enter_context(tried_folder(self._storage, self._nonce))
            try_storage(self._storage, self._nonce)
            if objects.key_of(self._storage):
                self._open.enter_context(tried_store(self._storage, self._nonce))
            self._open.enter_context(_held_lock(self._storage, self._nonce))
            self._open = self._open.pop_all()
        _remove_stale(self._storage)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def from_worker(self) -> FromWorker:
        """The worker's part: a function of the folder ``storage`` that can be pickled."""
        return FromWorker(self._nonce)

    def check(self, answer: str) -> None:
        """Check that this machine sees what the worker has written; ``answer`` is what `from_worker` returned."""
        content = _seen(place_of(self._storage, self._nonce) / answer)
        if content != self._nonce:
            raise InputError(
                f"storage={self._storage}: the driver on {socket.gethostname()} does not see what a worker has written "
                f"({answer}). Mount one storage at this path on every node, or give another folder: storage=FOLDER"
            )


@dataclass(frozen=True)
class FromWorker:
    """The part of a worker in a trial: its node sees the driver's file and lock, and every call holds there too."""

    nonce: str

    def __call__(self, storage: Path) -> str:
        """Try the storage from this node; return the name of the file that the driver has to see."""
        host = socket.gethostname()
        seen = _seen(place_of(storage, self.nonce) / ANSWER)
        if seen != self.nonce:
            raise InputError(
                f"storage={storage}: the worker on {host} does not see the driver's folder ({seen[:200]}). Mount one "
                "storage at this path on every node, or give another folder: storage=FOLDER"
            )
        answer = f"{host}-{secrets.token_hex(4)}"
        if objects.key_of(storage):
            with objects.patience(PATIENCE_SECONDS):
                objects.create(place_of(storage, self.nonce) / answer, self.nonce.encode())
            return answer
        with (place_of(storage, self.nonce) / HELD).open("a") as file:
            if gets_lock(file.fileno()):
                raise InputError(
                    f"storage={storage}: a lock of the driver does not reach the worker on {host}, so two drivers "
                    f"could work on one sweep. Mount it without nolock, local_lock and localflock. {KINDS}"
                )
        try_storage(storage, self.nonce)
        (place_of(storage, self.nonce) / answer).write_text(self.nonce)
        sync_file(place_of(storage, self.nonce) / answer)
        return answer


def try_here(storage: Path) -> None:
    """Try the storage from this process alone: InputError as `StorageTrial`."""
    with StorageTrial(storage):
        pass


def _seen(file: Path) -> str:
    """Return the content of a file of the trial, or why it cannot be read."""
    try:
        with objects.patience(PATIENCE_SECONDS):
            return objects.get(file).decode() if objects.key_of(file) else file.read_text()
    except OSError as error:
        return str(error)


@contextmanager
def _held_lock(storage: Path, nonce: str) -> Iterator[None]:
    with (place_of(storage, nonce) / HELD).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _remove_stale(storage: Path) -> None:
    for place in storage.glob(f"{PREFIX}*"):
        try:
            stale = time.time() - place.stat().st_mtime > STALE_SECONDS
        except FileNotFoundError:  # the trial of another driver has ended
            continue
        if stale:
            shutil.rmtree(place, ignore_errors=True)
