"""Pure: the fault that the rows of your own file have in common, as a sentence with the recipe's key that mends it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from orchestrator.data.example import RowError

_NUMBERED = re.compile(r"(?P<stem>.*?)(?P<mark>[A-Za-z]|[0-9]{1,2})")
_DIGITS = re.compile(r"[0-9]{1,9}")
STRAY = 20
"""Up to one answer in 20 may be a slip, from which nothing follows about the other answers."""


class Described(Protocol):
    """The part of `orchestrator.data.tasks.own.Columns` that is used here."""

    @property
    def question(self) -> str:
        """The column of the question."""

    @property
    def choices(self) -> str | tuple[str, ...]:
        """The column that holds the list of choices, or the columns of one choice each."""

    @property
    def answer(self) -> str:
        """The column of the answer."""

    @property
    def answer_base(self) -> int | None:
        """The number of the first choice, or None if the recipe does not give it."""

    def choices_of(self, row: Mapping[str, Any]) -> list[str | None]:
        """Return the choices of a row by number; RowError if the row has no choices."""

    def number(self, answer: Any) -> int | None:
        """Return the number that an answer is; None if it is no number."""


def common_fault(columns: Described, rows: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the fault that the rows have in common, with its remedy; None if no common fault is known."""
    names: dict[str, None] = {}
    answers: list[tuple[Any, Sequence[str | None]]] = []
    for row in rows:
        names.update(dict.fromkeys(row))
        try:
            answers.append((row.get(columns.answer), columns.choices_of(row)))
        except RowError:
            continue
    return _missing(columns, list(names)) or _miscounted(columns, answers)


def _missing(columns: Described, names: Sequence[str]) -> str | None:
    """Return the remedy if the recipe names a column that no row has; else None."""
    choices = [columns.choices] if isinstance(columns.choices, str) else list(columns.choices)
    wanted = {"question": [columns.question], "choices": choices, "answer": [columns.answer]}
    missing = ((key, column) for key, each in wanted.items() for column in each if column not in names)
    key, name = next(missing, ("", ""))
    if not key:
        return None
    series = choice_columns([other for other in names if other not in (columns.question, columns.answer)])
    if key == "choices" and series:
        return f"If each choice has a column of its own, write choices: [{', '.join(series)}] in the task's entry."
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f", perhaps {near[0]!r}" if near else ""
    return f"No row has a column {name!r}: write the column that is meant under {key} in the task's entry{hint}."


def choice_columns(names: Sequence[str]) -> list[str]:
    """Return the columns that are numbered from the first on, such as ``option_a`` to ``option_d``; [] if none are."""
    stems: dict[str, list[str]] = {}
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match:
            stems.setdefault(match["stem"], []).append(match["mark"])
    for stem, marks in stems.items():
        for begin in ("A", "a", "0", "1"):
            series = []
            for mark in (str(int(begin) + n) if begin.isdigit() else chr(ord(begin) + n) for n in range(26)):
                if mark not in marks:
                    break
                series.append(stem + mark)
            if len(series) > 1:
                return series
    return []


def _miscounted(columns: Described, answers: Sequence[tuple[Any, Sequence[str | None]]]) -> str | None:
    """Return the remedy for answers that are numbers in a way that the recipe does not say; else None.

    Such answers are numbers meant as a choice's text, numbers written as text, or numbers that count from another base.
    """
    counted = [(number, choices) for answer, choices in answers if (number := columns.number(answer)) is not None]
    if counted and columns.answer_base is None and all(str(number) in choices for number, choices in counted):
        return f"Every number in {columns.answer!r} is the text of a choice: write it as text, in quotation marks."
    as_text = [(int(answer), choices) for answer, choices in answers if _digits(columns, answer, choices)]
    zeros, ones, fair = _evidence(counted + as_text)
    within = sum(_filled(choices, number) or _filled(choices, number - 1) for number, choices in counted + as_text)
    if 2 * within < len(answers):
        return None
    if zeros and ones:
        if _stray(zeros, within, fair):
            zeros = 0
        elif _stray(ones, within, fair):
            ones = 0
        else:
            return None
    return _counted_from(columns, zeros, ones, bool(as_text))


def _evidence(numbered: Sequence[tuple[int, Sequence[str | None]]]) -> tuple[int, int, float]:
    """Return how many numbers name a choice only if they count from 0, how many only if from 1, and an expectation.

    The expectation is how many of either kind there would be if answers were spread evenly over the choices.
    """
    zeros = sum(_filled(choices, number) and not _filled(choices, number - 1) for number, choices in numbered)
    ones = sum(_filled(choices, number - 1) and not _filled(choices, number) for number, choices in numbered)
    return zeros, ones, sum(1 / max(1, len(choices) - choices.count(None)) for _, choices in numbered)


def _filled(choices: Sequence[str | None], index: int) -> bool:
    return 0 <= index < len(choices) and choices[index] is not None


def _stray(few: int, rows: int, fair: float) -> bool:
    """Return whether ``few`` rows are slips: at most one row in `STRAY`, and under half of the expectation ``fair``."""
    return few * STRAY <= rows and 2 * few < fair


def _counted_from(columns: Described, zeros: int, ones: int, as_text: bool) -> str | None:
    """Return the remedy if ``zeros`` numbers can only count from 0, or ``ones`` numbers only from 1; else None."""
    if ones and columns.answer_base != 1:
        return (
            f"{columns.answer!r} names a choice in {ones:,} rows only if 1 is the first, and in at most one of {STRAY} "
            "only if 0 is, so they count from 1: write answer_base: 1 in the task's entry."
        )
    if zeros and (as_text or columns.answer_base == 1):
        return (
            f"{columns.answer!r} names a choice in {zeros:,} rows only if 0 is the first, and in at most one of "
            f"{STRAY} only if 1 is, so they count from 0: write answer_base: 0 in the task's entry."
        )
    if as_text:
        return (
            f"{columns.answer!r} holds numbers written as text: write answer_base: 0 in the task's entry if 0 is the "
            "first choice, answer_base: 1 if 1 is."
        )
    return None


def _digits(columns: Described, answer: Any, choices: Sequence[str | None]) -> bool:
    """Return whether an answer is a number written as text, where the recipe has no ``answer_base``."""
    if columns.answer_base is not None or not isinstance(answer, str):
        return False
    return _DIGITS.fullmatch(answer.strip()) is not None and answer.strip() not in choices
