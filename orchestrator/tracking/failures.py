"""Pure: which failures of a tracker pass by themselves, and which last until somebody corrects their cause."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator

from orchestrator.addresses import without_secrets

ASK_AGAIN = (408, 425, 429)  # the answers 4xx that may be different at another time
OF_PLACES = (errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENOSPC, errno.EROFS)
OF_CODE = (TypeError, ValueError, LookupError, AttributeError, ImportError, AssertionError)
BY_NAME = ("SSLError", "InvalidURL", "ArgumentError", "NoSuchModuleError")  # of requests and SQLAlchemy
PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)  # another program has the database


def lasts(error: BaseException) -> bool:
    """Tell whether the same request would fail again however long one waits.

    A refusal lasts, and so does a folder that cannot be written to, and a fault of an address or of our code. A server
    that does not answer, is busy or has failed (5xx) may answer later.
    """
    return isinstance(error, OF_CODE) or any(map(_lasts, _chain(error)))


def reason_of(error: BaseException) -> str:
    """Return the first line of an error without secrets; the name of its type where it has no text."""
    return without_secrets((str(error).splitlines() or [""])[0] or type(error).__name__)


def _lasts(error: BaseException) -> bool:
    status = getattr(error, "get_http_status_code", None)  # MLflow's exceptions, whatever the store
    if status is not None:
        return 400 <= status() < 500 and status() not in ASK_AGAIN
    if isinstance(error, sqlite3.Error):
        return not is_busy(error)
    if isinstance(error, OSError) and error.errno in OF_PLACES:  # the errors of requests are OSErrors too
        return True
    return type(error).__name__ in BY_NAME


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether a local database is only held by another program."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in PASSING  # the low byte; the others are details


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, its cause, the cause of its cause, and so on."""
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__ or at.__context__
