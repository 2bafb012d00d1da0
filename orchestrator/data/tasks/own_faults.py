"""A fault that the rows of your own file have in common, in a sentence with the key of the recipe that mends it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from orchestrator.data.example import RowError

_NUMBERED = re.compile(r"(?P<stem>.*?)(?P<mark>[A-Za-z]|[0-9]{1,2})")
_DIGITS = re.compile(r"[0-9]{1,9}")
STRAY = 20  # one answer in so many may be a slip that says nothing about the others


class Described(Protocol):
    """What is asked of `Columns`."""

    @property
    def question(self) -> str:
        """The question's column."""

    @property
    def choices(self) -> str | tuple[str, ...]:
        """The choices' column, or their columns."""

    @property
    def answer(self) -> str:
        """The answer's column."""

    @property
    def answer_base(self) -> int | None:
        """The number of the first choice, if the recipe says it."""

    def choices_of(self, row: Mapping[str, Any]) -> list[str | None]:
        """The choices of a row by number; RowError where it has none."""

    def number(self, answer: Any) -> int | None:
        """The number that an answer is, if it is one."""


def common_fault(columns: Described, rows: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the fault that the rows have in common and its remedy; None where each bad row has a reason of its own."""
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
    """Return the remedy for a column that no row has."""
    choices = [columns.choices] if isinstance(columns.choices, str) else list(columns.choices)
    wanted = {"question": [columns.question], "choices": choices, "answer": [columns.answer]}
    key, name = next(((key, one) for key, each in wanted.items() for one in each if one not in names), ("", ""))
    if not key:
        return None
    series = choice_columns([other for other in names if other not in (columns.question, columns.answer)])
    if key == "choices" and series:
        return f"If each choice has a column of its own, write choices: [{', '.join(series)}] in the task's entry."
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f", perhaps {near[0]!r}" if near else ""
    return f"No row has a column {name!r}: write the column that is meant under {key} in the task's entry{hint}."


def choice_columns(names: Sequence[str]) -> list[str]:
    """Return the columns that are numbered one after another from the first, as ``option_a`` to ``option_d`` are."""
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
    """Return the remedy for numbers that are texts, that are written as text, or that count from another number."""
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
    """Return how many numbers mean a choice only if they count from 0, how many only if from 1, and a fair share.

    The share is how many of either are expected of answers that are spread evenly over the filled cells of their rows.
    """
    zeros = sum(_filled(choices, number) and not _filled(choices, number - 1) for number, choices in numbered)
    ones = sum(_filled(choices, number - 1) and not _filled(choices, number) for number, choices in numbered)
    return zeros, ones, sum(1 / max(1, len(choices) - choices.count(None)) for _, choices in numbered)


def _filled(choices: Sequence[str | None], index: int) -> bool:
    return 0 <= index < len(choices) and choices[index] is not None


def _stray(few: int, rows: int, fair: float) -> bool:
    """Tell whether so few of the rows are slips: one in `STRAY`, and far fewer than chance would have it."""
    return few * STRAY <= rows and 2 * few < fair


def _counted_from(columns: Described, zeros: int, ones: int, as_text: bool) -> str | None:
    """Return the remedy for numbers of which some can only count from 0 (``zeros``), or some only from 1 (``ones``)."""
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
    """Tell whether an answer is a number written as text that the recipe does not say to be one."""
    if columns.answer_base is not None or not isinstance(answer, str):
        return False
    return _DIGITS.fullmatch(answer.strip()) is not None and answer.strip() not in choices
