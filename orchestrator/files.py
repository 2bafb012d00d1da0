"""Files that are whole or not there after a crash: temporary name, fsync, rename, fsync of the folder."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator import objects

DRAFT = ".tmp-"
"""The beginning of the name of a file that is being written."""
LOCK = ".lock"
"""The name of the file in a folder whose lock is the lock of the folder."""
AT_WORKING_FOLDER, RENAME_EXCHANGE = -100, 2  # of Linux' renameat2


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` so that at any instant, and after a crash, the file has either the old or the new content.

    In the near copy of an object store the file is then put into the store (`objects.write_through`).
    """
    make_folder(path.parent)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=DRAFT, delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    sync_folder(path.parent)
    objects.write_through(path)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, keys in their order; NaN is refused with ValueError."""
    write_bytes(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write one JSON object per line; NaN is refused with ValueError."""
    write_bytes(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode())


def read_json(path: Path) -> Any:
    """Return the JSON in ``path``; None if there is no such file, or if its content is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSON-lines file, without a last line that a crash cut short; [] if there is no file."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]


def sha256_of(path: Path) -> str:
    """Return the file's sha256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(folder: Path) -> None:
    """Make ``folder`` and its missing parents so that they are still there after a crash."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names of the files in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(file: Path) -> None:
    """Make the content of ``file`` durable."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def exchange(first: Path, second: Path) -> bool:
    """Let two names of one folder change places in one step; False, and nothing is changed, where the system cannot.

    Linux alone has the call, and not on every file system.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(AT_WORKING_FOLDER, os.fsencode(first), AT_WORKING_FOLDER, os.fsencode(second), RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM):
        return False
    raise OSError(code, os.strerror(code), str(first), None, str(second))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within: no other process holds the lock of ``folder``; wait for the lock first.

    Code that reads the folder and then changes it holds the lock during both. A process that is suspended between its
    read and its change keeps the lock, so no other process changes the folder in between. The lock is on a regular file
    in the folder, because NFS gives the locks of regular files to its server, and no locks of folders.
    """
    with (folder / LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
