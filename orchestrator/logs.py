"""The logs of a sweep, as JSON lines below ``<sweep>/logs/``, so that every reason can be read afterwards."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from orchestrator.addresses import without_secrets

ROOT = "orchestrator"  # the logger of this project; other libraries keep their own
_log = logging.getLogger(__name__)


class JsonLines(logging.Formatter):
    """One JSON object per record: time (UTC), level, module, host, process, message, and the traceback of an error."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON, without the secrets of addresses."""
        content = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "module": record.name,
            "host": socket.gethostname(),
            "process": record.process,
            "message": without_secrets(record.getMessage()),
        }
        if record.exc_info:
            content["traceback"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(content)


class KeptFile(logging.FileHandler):
    """A file whose disk may fail: a line is lost then, and the work goes on."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Do nothing: the standard handler would print a traceback per line."""


@contextmanager
def kept(file: Path) -> Iterator[None]:
    """Within: this project's log, from INFO on, is appended to ``file`` as well.

    A file that cannot be opened costs the log, not the work.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = KeptFile(file, encoding="utf-8")
    except OSError as error:
        _log.warning("No log is kept in %s: %s", file, error)
        yield
        return
    try:
        with _handled(handler):
            yield
    finally:
        with suppress(OSError):  # it writes what is left, on a disk that may be full
            handler.close()


@contextmanager
def streamed(stream: TextIO) -> Iterator[None]:
    """Within: this project's log, from INFO on, goes to ``stream`` as JSON lines, for programs that read it."""
    with _handled(logging.StreamHandler(stream)):
        yield


@contextmanager
def _handled(handler: logging.Handler) -> Iterator[None]:
    handler.setFormatter(JsonLines())
    handler.setLevel(logging.INFO)
    logger = logging.getLogger(ROOT)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(min(logging.INFO, level) if level else logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def log_of_pack(folder: Path, pack: str, rank: int) -> Path:
    """Return the log of one rank of a pack below the folder of all logs; later attempts are appended."""
    return folder / f"pack-{pack}-rank{rank}.jsonl"
