"""Pure: when packs raise the same error, or lose their trainers, before any step, no more packs are tried."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from orchestrator.machine.full_memory import is_about_memory

LIKE = 3  # after so many packs in a row that failed alike, the others are not tried
CRASHES = 6  # as LIKE, after so many lost trainers in a row, with at least LIKE different packs
NOT_TRIED = "not tried, because"
_RUN_KEY = re.compile(r"\b[0-9a-f]{16}\b")


class Breaker:
    """Counts packs in a row that raised before any optimizer step, with the same last line, and trainers in a row that
    were lost before a new step of their pack.

    A pack that ends well begins both counts anew. A pack that makes steps takes away only its own share: other packs
    may fail all the same meanwhile. Errors about memory do not count: a narrower pack may fit. Run keys within the line
    are left out of the comparison, because paths contain them. A crash in native code, and a kill by the kernel for
    want of memory, leave no line that could be compared, so every loss counts but for the loss of a node.
    """

    def __init__(self) -> None:
        self._line, self._count = "", 0
        self._losses: Counter[str] = Counter()

    def went_well(self) -> None:
        """Note that a pack has ended well."""
        self._line, self._count = "", 0
        self._losses.clear()

    def stepped(self, pack: str) -> None:
        """Note that a pack has made a new step."""
        del self._losses[pack]

    def lost(self, pack: str, error: str) -> str | None:
        """Note that a trainer was lost before a new step of its pack; return why to try no more, or None."""
        self._losses[pack] += 1
        if self._losses.total() < CRASHES or len(self._losses) < LIKE:
            return None
        return (
            f"{NOT_TRIED} {self._losses.total()} trainers in a row, with {len(self._losses)} different packs, "
            f"were lost before any new step: {last_line(error)}"
        )

    def failed(self, error: str, steps: int) -> str | None:
        """Note that a pack has raised ``error`` after ``steps`` optimizer steps; return why to try no more, or None."""
        if steps or is_about_memory(error):
            self._line, self._count = "", 0
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
