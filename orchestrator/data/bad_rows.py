"""Rows that cannot be used: a few are left out and counted where the recipe says so, many are one error."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.errors import InputError
from orchestrator.wording import count

FEW = 20  # one row in so many may be bad by chance; more are bad for a reason of their file
SIGMAS = 4  # a draw may hold more bad rows than its part of these by so many standard deviations of the draw


@dataclass(frozen=True)
class BadRow:
    """A row that is no question: ``place`` is ``path:line``, ``reason`` says what is wrong with this row."""

    place: str
    reason: str


@dataclass(frozen=True)
class Tally:
    """How many rows of a file were read, and how many of them were no questions."""

    rows: int
    bad: int = 0

    @property
    def good(self) -> int:
        """How many rows were questions."""
        return self.rows - self.bad

    def room(self, drawn: int) -> float:
        """Return how many bad rows there may be among ``drawn`` of the good ones, so that in all few of a file are bad.

        Of a part of the rows it is what a file with just few bad rows may give by chance: where a draw has more than
        this, so has its file. Of all rows it is exact.
        """
        left = max(1, self.rows // FEW) - self.bad
        share = min(1.0, drawn / max(1, self.good))
        chance = SIGMAS * math.sqrt(left * share * (1 - share))
        return min(left, max(1, left * share + chance))

    def told(self, bad: int, drawn: int, file: str) -> str:
        """Return in words how many of the rows that were looked at are bad."""
        if drawn >= self.good:
            return f"{self.bad + bad:,} of {count(self.rows, 'row')} of {file} cannot be used"
        before = f", nor could {self.bad:,} of all {self.rows:,}" if self.bad else ""
        return f"{bad:,} of the {count(drawn, 'row')} drawn from {file} cannot be used{before}"


def tally(bad: Iterable[BadRow], places: Iterable[str]) -> dict[str, Tally]:
    """Return by file how many rows there are at ``places``, good and bad, and how many are bad."""
    rows, wrong = (Counter(_file_and_line(one)[0] for one in each) for each in (places, (row.place for row in bad)))
    return {file: Tally(amount, wrong[file]) for file, amount in rows.items()}


def refuse(
    bad: Sequence[BadRow],
    places: Iterable[str],
    *,
    skip: bool,
    explain: Callable[[str], str | None] = lambda _: None,
    read: Mapping[str, Tally] | None = None,
) -> None:
    """Raise `InputError` unless ``skip``, and whatever ``skip`` says where a file's rows have a fault in common.

    ``places`` are those of all rows, good and bad. ``explain(file)`` returns in one sentence the fault that the rows of
    a file have in common and its remedy, if it knows one. One bad row alone is never such a fault; over one row
    in twenty is one even where no cause is known: leaving the rows out would train on what the fault has spared.
    Where ``places`` are some of the good rows of files that were read before, ``read`` is the tally of each file: both
    times together are judged.
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
        share = before.told(now.bad, now.rows, file)
        if cause is not None:
            raise InputError(f"{first.place}: {first.reason} {share}. {cause}")
        if now.bad > before.room(now.rows):
            raise InputError(
                f"{first.place}: {first.reason} {share}, too many to leave out: correct the file, or the task's entry."
            )
    if not skip:
        more = f" So are {count(len(bad) - 1, 'other row')}." if len(bad) > 1 else ""
        raise InputError(
            f"{bad[0].place}: {bad[0].reason}{more} (data.bad_rows=skip leaves such rows out and counts them.)"
        )


def _file_and_line(place: str) -> tuple[str, int]:
    file, _, line = place.rpartition(":")
    return file, int(line)
