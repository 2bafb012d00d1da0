"""Print so that a terminal that cannot show a character, or a reader that has gone, does not end the job."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from rich.console import Console

from orchestrator.addresses import without_secrets

_log = logging.getLogger(__name__)
Say = Callable[[str], None]
"""Prints one line to whoever started the job."""


class Outlet:
    """A stream whose writes never fail.

    Characters that the encoding lacks are written as escapes (``\\xfc``), lone surrogates too. After a closed pipe, a
    closed stream or a full disk nothing more is written, and ``lost`` is the error; before, ``lost`` is None.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.lost: Exception | None = None

    def write(self, text: str) -> int:
        """Write the text unless the stream is lost; return the length of the text in either case."""
        if self.lost is None:
            with self._losing():
                self.stream.write(_showable(text, self.stream.encoding))
        return len(text)

    def flush(self) -> None:
        """Flush the stream unless it is lost."""
        if self.lost is None:
            with self._losing():
                self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    @contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:
            pass  # a pipe that does not wait for its slow reader: the next write tries again
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            self.lost = error
            _to_nowhere(self.stream)


def terminal(file: TextIO | None = None, width: int | None = None) -> Console:
    """Return a console that prints text unchanged: brackets are no markup, and ``:x:`` is no emoji."""
    return Console(file=file, width=width, markup=False, emoji=False, highlight=False)


def standard_output() -> TextIO:
    """Return the stream of what a job prints, for a log that takes the place of lines."""
    return sys.stdout


def say(console: Console, line: str) -> None:
    """Log a line, and print it unchanged and unwrapped, however long it is, and flush it."""
    _log.info("%s", line)
    console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)


def lines_to(console: Console) -> Say:
    """Return a function that prints and logs a line without the secrets of addresses."""
    return lambda line: say(console, without_secrets(line))


def complain(message: object) -> None:
    """Print a message to stderr, with nothing around it, so that people and scripts can read it."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


def lost_output() -> Exception | None:
    """Return the error because of which printed text was lost; None if no text was lost, or the reader left."""
    lost = getattr(sys.stdout, "lost", None)
    return None if isinstance(lost, BrokenPipeError) else lost


@contextmanager
def unfailing() -> Iterator[None]:
    """Within: stdout and stderr are `Outlet`s, also for libraries that print; a closed stream leads to /dev/null."""
    _open_closed()
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w") as nowhere:
        outlets = [Outlet(stream or nowhere) for stream in before]
        sys.stdout, sys.stderr = (cast(TextIO, outlet) for outlet in outlets)
        try:
            yield
        finally:
            for outlet in outlets:
                outlet.flush()
            sys.stdout, sys.stderr = before


def _showable(text: str, encoding: str | None) -> str:
    """Return the text with escapes for the characters that the encoding lacks."""
    return text.encode(encoding, "backslashreplace").decode(encoding) if encoding else text


def _to_nowhere(stream: TextIO) -> None:
    """Let the stream's descriptor lead to /dev/null, because buffered text is written again when the process ends.

    A stream without a descriptor buffers no text.
    """
    with suppress(OSError, ValueError):
        descriptor, nowhere = stream.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def _open_closed() -> None:
    """Open descriptors 0 to 2 if they are closed; else the next opened file would get a number of stdout or stderr."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor: this one
