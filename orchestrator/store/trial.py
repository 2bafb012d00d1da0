"""Storage is tried before anything is trained: every call that a commit and a lease need, on this machine or a worker.

The driver makes a trial and hands its `from_worker` to one worker per node:

    with StorageTrial(storage) as trial:
        trial.check(cluster.call(trial.from_worker, storage))
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from orchestrator.errors import InputError
from orchestrator.files import make_folder, sync_file, sync_folder

PREFIX, ANSWER, HELD = ".try-", "nonce", "held"
STALE_SECONDS = 3600.0  # a folder of a trial that is older was left by a killed driver
KINDS = (
    "Storage is a folder on a local disk or on a network file system with hard links and locks (NFS 4 such as EFS, "
    "Lustre with -o flock, CephFS, GPFS); SMB, gcsfuse, s3fs and Mountpoint for S3 lack them. "
    "Give another folder: storage=FOLDER"
)
ROOM = "Make the folder writable and make room there, or give another folder: storage=FOLDER"
REFUSED = (errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


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
        try:
            content = (_place(self._storage, self._nonce) / answer).read_text()
        except OSError as error:
            content = str(error)
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
        try:
            seen = (_place(storage, self.nonce) / ANSWER).read_text()
        except OSError as error:
            seen = str(error)
        if seen != self.nonce:
            raise InputError(
                f"storage={storage}: the worker on {host} does not see the driver's folder ({seen[:200]}). Mount one "
                "storage at this path on every node, or give another folder: storage=FOLDER"
            )
        with (_place(storage, self.nonce) / HELD).open("a") as file:
            if _gets_lock(file.fileno()):
                raise InputError(
                    f"storage={storage}: a lock of the driver does not reach the worker on {host}, so two drivers "
                    f"could work on one sweep. Mount it without nolock, local_lock and localflock. {KINDS}"
                )
        try_storage(storage, self.nonce)
        answer = f"{host}-{secrets.token_hex(4)}"
        (_place(storage, self.nonce) / answer).write_text(self.nonce)
        sync_file(_place(storage, self.nonce) / answer)
        return answer


def try_storage(storage: Path, nonce: str) -> None:
    """Try every call that a commit and a lease need, in a folder of its own below ``storage``: InputError as `KINDS`.

    It takes about 20 ms on a local disk.
    """
    with tried_folder(storage, f"{nonce}-{secrets.token_hex(4)}") as place:
        draft, file, link = place / "draft", place / ANSWER, place / "link"
        with _must(storage, "write a file"):
            draft.write_text(nonce)
        with _must(storage, "make a file and a folder durable (fsync)"):
            sync_file(draft)
            sync_folder(place)
        with _must(storage, "rename a file"):
            file.write_text("old")
            draft.replace(file)
        with _must(storage, "create a hard link, by which each run ends once"):
            os.link(file, link)
        _expect(storage, "create a hard link only where no file is", lambda: _refuses(lambda: os.link(file, link)))
        _expect(storage, "make a folder only where none is", lambda: _refuses(place.mkdir))
        with _must(storage, "lock a file (flock), so that a sweep has one driver"), file.open("a") as one:
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with file.open("a") as other:
                held = not _gets_lock(other.fileno())
        _expect(storage, "keep a lock against a second process", lambda: held)
        _expect(storage, "read back what was written", lambda: file.read_text() == link.read_text() == nonce)
        with _must(storage, "delete a file"):
            link.unlink()


@contextmanager
def tried_folder(storage: Path, nonce: str) -> Iterator[Path]:
    """Within: the folder of a trial is there, and holds the nonce."""
    place = _place(storage, nonce)
    with _must(storage, "make a folder"):
        make_folder(place)
    try:
        with _must(storage, "write a file"):
            (place / ANSWER).write_text(nonce)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _held_lock(storage: Path, nonce: str) -> Iterator[None]:
    with (_place(storage, nonce) / HELD).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _place(storage: Path, nonce: str) -> Path:
    return storage / f"{PREFIX}{nonce}"


@contextmanager
def _must(storage: Path, what: str) -> Iterator[None]:
    """Turn an error of the file system within into an InputError that names what it refuses to do."""
    try:
        yield
    except OSError as error:
        remedy = ROOM if error.errno in REFUSED else KINDS
        raise InputError(f"storage={storage}: cannot {what}: {error.strerror or error}. {remedy}") from None


def _expect(storage: Path, what: str, holds: Callable[[], bool]) -> None:
    with _must(storage, what):
        if not holds():
            raise OSError(0, "the call succeeds and has not that effect")


def _refuses(call: Callable[[], object]) -> bool:
    try:
        call()
    except FileExistsError:
        return True
    return False


def _gets_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_stale(storage: Path) -> None:
    for place in storage.glob(f"{PREFIX}*"):
        try:
            stale = time.time() - place.stat().st_mtime > STALE_SECONDS
        except FileNotFoundError:  # the trial of another driver has ended
            continue
        if stale:
            shutil.rmtree(place, ignore_errors=True)
