"""Rows that cannot be used: a few are left out and counted where the recipe says so, many are one error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from orchestrator.errors import InputError
from orchestrator.wording import count

FEW = 20  # one row in so many may be bad by chance; more are bad for a reason of their file


@dataclass(frozen=True)
class BadRow:
    """A row that is no question: ``place`` is ``path:line``, ``reason`` says what is wrong with this row."""

    place: str
    reason: str


def refuse(
    bad: Sequence[BadRow],
    places: Iterable[str],
    *,
    skip: bool,
    explain: Callable[[str], str | None] = lambda _: None,
) -> None:
    """Raise `InputError` unless ``skip``, and whatever ``skip`` says where a file's rows have a fault in common.

    ``places`` are those of all rows, good and bad. ``explain(file)`` returns in one sentence the fault that the rows of
    a file have in common and its remedy, if it knows one. One bad row alone is never such a fault; over one row
    in twenty is one even where no cause is known: leaving the rows out would train on what the fault has spared.
    """
    if not bad:
        return
    bad = sorted(bad, key=lambda row: _file_and_line(row.place))
    rows = Counter(_file_and_line(place)[0] for place in places)
    for file, amount in Counter(_file_and_line(row.place)[0] for row in bad).items():
        first = next(row for row in bad if _file_and_line(row.place)[0] == file)
        cause = explain(file)
        share = f"{amount:,} of {count(rows[file], 'row')} of {file} cannot be used"
        if cause is not None:
            raise InputError(f"{first.place}: {first.reason} {share}. {cause}")
        if amount > max(1, rows[file] // FEW):
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
