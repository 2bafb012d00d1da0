"""Pure: when packs fail one after another with the same error before their first step, no more packs are tried."""

from __future__ import annotations

import re
from collections.abc import Iterable

from orchestrator.machine.memory import is_about_memory

LIKE = 3  # after so many packs in a row that failed alike, the others are not tried
NOT_TRIED = "not tried, because"
_RUN_KEY = re.compile(r"\b[0-9a-f]{16}\b")


class Breaker:
    """Counts packs in a row that raised before any optimizer step, with the same last line of error.

    A pack that makes a step or ends well begins the count anew. Errors about memory do not count: a narrower pack may
    fit. Run keys within the line are left out of the comparison, because paths contain them.
    """

    def __init__(self) -> None:
        self._line, self._count = "", 0

    def went_well(self) -> None:
        """Note that a pack has made a step or has ended well."""
        self._line, self._count = "", 0

    def failed(self, error: str, steps: int) -> str | None:
        """Note that a pack has raised ``error`` after ``steps`` optimizer steps; return why to try no more, or None."""
        if steps or is_about_memory(error):
            self.went_well()
            return None
        line = last_line(error)
        alike = _RUN_KEY.sub("RUN", line)
        self._count = self._count + 1 if alike == self._line else 1
        self._line = alike
        if self._count < LIKE:
            return None
        return f"{NOT_TRIED} {LIKE} packs in a row failed alike before their first step: {line}"


def closed_by_breaker(errors: Iterable[str]) -> bool:
    """Return whether one of these errors of packs says that its pack was not tried."""
    return any(error.startswith(NOT_TRIED) for error in errors)


def last_line(error: str) -> str:
    """Return the last line of an error that is not blank."""
    return next((line.strip() for line in reversed(error.splitlines()) if line.strip()), "no message")
