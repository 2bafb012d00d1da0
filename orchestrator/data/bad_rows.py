"""Rows that cannot be used: a few are left out and counted if the recipe says so; many are one error of their file."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.errors import InputError
from orchestrator.wording import count

FEW = 20
"""At most one row in 20 of a file may be bad. More bad rows have a cause in the file."""
SIGMAS = 4
"""A draw of rows may hold more bad rows than expected, by up to 4 standard deviations of a random draw."""


@dataclass(frozen=True)
class BadRow:
    """A row that is no question: ``place`` is ``path:line``, ``reason`` is a sentence about this row."""

    place: str
    reason: str


@dataclass(frozen=True)
class Tally:
    """The number of rows of a file that were read, and the number of bad rows among them."""

    rows: int
    bad: int = 0

    @property
    def good(self) -> int:
        """The number of rows that are questions."""
        return self.rows - self.bad

    def room(self, drawn: int) -> float:
        """Return how many of ``drawn`` rows may turn out bad, where ``drawn`` of the good rows are looked at again.

        If all good rows are drawn, this is the number of bad rows that the file may still have (one in `FEW`). If a
        part is drawn, it is the most that a random draw from such a file holds by chance: a draw with more bad rows
        shows that the whole file has too many.
        """
        left = max(1, self.rows // FEW) - self.bad
        share = min(1.0, drawn / max(1, self.good))
        chance = SIGMAS * math.sqrt(left * share * (1 - share))
        return min(left, max(1, left * share + chance))

    def describe(self, bad: int, drawn: int, file: str) -> str:
        """Return in words how many of the ``drawn`` rows are bad, and how many rows of the file were bad before."""
        if drawn >= self.good:
            return f"{self.bad + bad:,} of {count(self.rows, 'row')} of {file} cannot be used"
        before = f", nor could {self.bad:,} of all {self.rows:,}" if self.bad else ""
        return f"{bad:,} of the {count(drawn, 'row')} drawn from {file} cannot be used{before}"


def tally(bad: Iterable[BadRow], places: Iterable[str]) -> dict[str, Tally]:
    """Return the tally of each file; ``places`` are the places of all rows, good and bad."""
    rows = Counter(_file_and_line(place)[0] for place in places)
    bad_rows = Counter(_file_and_line(row.place)[0] for row in bad)
    return {file: Tally(number, bad_rows[file]) for file, number in rows.items()}


def refuse(
    bad: Sequence[BadRow],
    places: Iterable[str],
    *,
    skip: bool,
    explain: Callable[[str], str | None] = lambda _: None,
    read: Mapping[str, Tally] | None = None,
) -> None:
    """Raise InputError if there are bad rows, unless they may be skipped: ``skip`` is set, and they are few.

    ``places`` are the places of all rows. ``explain(file)`` returns a sentence with the fault that the rows of
    a file have in common and its remedy, or None. Such a fault is an InputError whatever ``skip`` says. So are more bad
    rows than one in `FEW`, even without a known cause, because skipping them would train only on the rows that the
    fault has spared. A single bad row is few in a file of any size.

    If ``places`` are a part of the good rows of files that were read before, ``read`` is the tally of each file then,
    and both readings are judged together.
    """
    if not bad:
        return
    bad = sorted(bad, key=lambda row: _file_and_line(row.place))
    counted = tally(bad, places)
    for file in dict.fromkeys(_file_and_line(row.place)[0] for row in bad):
        first = next(row for row in bad if _file_and_line(row.place)[0] == file)
        now = counted[file]
        before = (read or {}).get(file, Tally(now.rows))
        cause = explain(file)
        share = before.describe(now.bad, now.rows, file)
        if cause is not None:
            raise InputError(f"{first.place}: {first.reason} {share}. {cause}")
        if now.bad > before.room(now.rows):
            raise InputError(
                f"{first.place}: {first.reason} {share}, too many to leave out: correct the file, or the task's entry."
            )
    if not skip:
        more = f" So are {count(len(bad) - 1, 'other row')}." if len(bad) > 1 else ""
        raise InputError(
            f"{bad[0].place}: {bad[0].reason}{more} Correct the file. "
            "(data.bad_rows=skip leaves such rows out and counts them.)"
        )


def _file_and_line(place: str) -> tuple[str, int]:
    """Return path and line of a place ``path:line``."""
    file, _, line = place.rpartition(":")
    return file, int(line)
