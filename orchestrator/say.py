"""All that is printed goes through here: a terminal that cannot show it, or a reader that has gone, ends nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from rich.console import Console

from orchestrator.addresses import without_secrets

Say = Callable[[str], None]
"""Prints one line to whoever started the job."""


class Outlet:
    """A stream that a write cannot fail on; ``lost`` is why nothing is written any more, or None.

    Characters that the encoding has not are written as escapes (``\\xfc``), half surrogates too. A closed pipe, a
    closed stream or a full disk silences it for good.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.lost: Exception | None = None

    def write(self, text: str) -> int:
        """Write what can be written; return as many characters as were given."""
        if self.lost is None:
            with self._losing():
                self.stream.write(_showable(text, self.stream.encoding))
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
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
            pass  # a reader that is slow, and a pipe that does not wait for it: the next write tries again
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            self.lost = error
            _to_nowhere(self.stream)


def terminal(file: TextIO | None = None, width: int | None = None) -> Console:
    """Return a console that prints as it is told: no brackets are markup, no ``:x:`` is a picture."""
    return Console(file=file, width=width, markup=False, emoji=False, highlight=False)


def say(console: Console, line: str) -> None:
    """Print a line as it is, however long, and flush it."""
    console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)


def lines_to(console: Console) -> Say:
    """Return a function that prints a line on ``console`` without the secrets of addresses."""
    return lambda line: say(console, without_secrets(line))


def complain(message: object) -> None:
    """Print a message to stderr, alone, for people and for scripts."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


def lost_output() -> Exception | None:
    """Return why what was printed has not arrived; None if it has, or if its reader had enough of it (``| head``)."""
    lost = getattr(sys.stdout, "lost", None)
    return None if isinstance(lost, BrokenPipeError) else lost


@contextmanager
def unfailing() -> Iterator[None]:
    """Within: stdout and stderr are outlets, for whoever prints, libraries too; those that are closed lead nowhere."""
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
    """Return the text with escapes for the characters that the encoding has not."""
    return text.encode(encoding, "backslashreplace").decode(encoding) if encoding else text


def _to_nowhere(stream: TextIO) -> None:
    """Let the stream's descriptor lead nowhere: what it still holds is written as the process ends, and must not fail.

    A stream without a descriptor holds nothing.
    """
    with suppress(OSError, ValueError):
        descriptor, nowhere = stream.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def _open_closed() -> None:
    """Open descriptors 0 to 2 where they are closed: else the next file would get one, and print into itself."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free: this one
