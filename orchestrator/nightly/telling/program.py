"""Give a message to a program on its standard input, and end the program if it takes too long."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from tempfile import TemporaryFile

LAST = 2000  # bytes of what the program says that are read, from its end


def run_program(command: Sequence[str], body: bytes, seconds: float) -> str | None:
    """Return None if the program ended with 0 within ``seconds``; else why not, with the last line of its errors."""
    with TemporaryFile() as message, TemporaryFile() as errors:
        message.write(body)
        message.seek(0)
        try:
            program = subprocess.Popen(
                list(command), stdin=message, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
            )
        except (OSError, ValueError) as error:
            return f"it cannot be started: {getattr(error, 'strerror', None) or type(error).__name__}"
        try:
            code = program.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)  # with all that it has started
            program.wait()
            return f"it was ended after {seconds:g} s"
        if code == 0:
            return None
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - LAST))
        lines = errors.read().decode(errors="replace").strip().splitlines()
        return f"it ended with {code}" + (f": {lines[-1].strip()}" if lines else "")
