"""Pure: which failures of a tracker pass by themselves, and which last until somebody corrects something."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator

from orchestrator.addresses import without_secrets

ASK_AGAIN = (408, 425, 429)  # of the answers 4xx those that another time may be another
OF_PLACES = (errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENOSPC, errno.EROFS)
OF_CODE = (TypeError, ValueError, LookupError, AttributeError, ImportError, AssertionError)
BY_NAME = ("SSLError", "InvalidURL", "ArgumentError", "NoSuchModuleError")  # of requests and SQLAlchemy
PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)  # another program has the database


def lasts(error: BaseException) -> bool:
    """Tell whether the same request would fail again: refused, a place that is none, a fault of an address or of code.

    A server that does not answer, is busy or has failed (5xx) may be another minute's server.
    """
    return isinstance(error, OF_CODE) or any(map(_lasts, _chain(error)))


def reason_of(error: BaseException) -> str:
    """Return the first line of an error, without secrets; its kind where it has no words."""
    return without_secrets((str(error).splitlines() or [""])[0] or type(error).__name__)


def _lasts(error: BaseException) -> bool:
    status = getattr(error, "get_http_status_code", None)  # MLflow's exceptions, whatever the store
    if status is not None:
        return 400 <= status() < 500 and status() not in ASK_AGAIN
    if isinstance(error, sqlite3.Error):
        return not is_busy(error)
    if isinstance(error, OSError) and error.errno in OF_PLACES:  # requests' own are among these
        return True
    return type(error).__name__ in BY_NAME


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether a local database is only held by another program."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in PASSING  # the low byte; the rest says more


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and the errors that it came from."""
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__ or at.__context__
