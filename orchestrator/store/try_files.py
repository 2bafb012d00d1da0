"""Try on a file system every call that a commit and a lease need, and name a call that does not hold."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.errors import InputError
from orchestrator.files import make_folder, sync_file, sync_folder

PREFIX, ANSWER = ".try-", "nonce"
KINDS = (
    "Storage is a folder on a local disk or on a network file system with hard links and locks (NFS 4 such as EFS, "
    "Lustre with -o flock, CephFS, GPFS); SMB, gcsfuse, s3fs and Mountpoint for S3 lack them. "
    "Give another folder: storage=FOLDER"
)
ROOM = "Make the folder writable and make room there, or give another folder: storage=FOLDER"
REFUSED = (errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


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
            (place / "attempt").mkdir()
            (place / "attempt" / "end").write_text(nonce)
            os.link(place / "attempt" / "end", link)  # from a folder to the one above it, as a commit does
        _expect(storage, "create a hard link only where no file is", lambda: _refuses(lambda: os.link(file, link)))
        _expect(storage, "make a folder only where none is", lambda: _refuses(place.mkdir))
        with _must(storage, "lock a file (flock), so that a sweep has one driver"), file.open("a") as one:
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with file.open("a") as other:
                held = not gets_lock(other.fileno())
        _expect(storage, "keep a lock against a second process", lambda: held)
        _expect(storage, "read back what was written", lambda: file.read_text() == link.read_text() == nonce)
        with _must(storage, "delete a file"):
            link.unlink()


@contextmanager
def tried_folder(storage: Path, nonce: str) -> Iterator[Path]:
    """Within: the folder of a trial is there, and holds the nonce."""
    place = place_of(storage, nonce)
    with _must(storage, "make a folder"):
        make_folder(place)
    try:
        with _must(storage, "write a file"):
            (place / ANSWER).write_text(nonce)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def place_of(storage: Path, nonce: str) -> Path:
    """Return the folder of a trial."""
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


def gets_lock(descriptor: int) -> bool:
    """Take the lock of an open file if nobody has it; return whether that went well."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
