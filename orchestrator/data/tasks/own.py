"""A multiple-choice file of your own as a task: the recipe names the columns of question, choices and answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from orchestrator.data.example import Example, RowError
from orchestrator.data.sources import FileSource
from orchestrator.data.task import Task
from orchestrator.data.tasks.columns import checked_text, column, kind, text, texts
from orchestrator.data.tasks.own_faults import common_fault
from orchestrator.data.tasks.prompts import multiple_choice
from orchestrator.errors import InputError

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_WHOLE = re.compile(r"-?[0-9]{1,9}")


class ColumnKeys(TypedDict, total=False):
    """The keys of a recipe's entry that describe a file's columns."""

    question: str
    choices: str | Sequence[str]
    answer: str
    answer_base: int | None


@dataclass(frozen=True)
class Columns:
    """The columns of a file of your own, and how a row becomes an example.

    ``choices`` is a column that holds a list, or several columns that hold one choice each; an empty column is no
    choice. ``answer_base`` is the number of the first choice, 0 or 1; with it, digits written as text are numbers.
    """

    question: str = "question"
    choices: str | tuple[str, ...] = "choices"
    answer: str = "answer"
    answer_base: int | None = None

    @classmethod
    def of(cls, keys: ColumnKeys) -> Columns:
        """Return the columns that the keys of a recipe's entry name."""
        choices = keys.get("choices", cls.choices)
        whole = choices if isinstance(choices, str) else tuple(choices)
        return cls(keys.get("question", cls.question), whole, keys.get("answer", cls.answer), keys.get("answer_base"))

    def example(self, row: Mapping[str, Any]) -> Example:
        """Return the example of a row; RowError for identical choices, because in your own file they are a mistake."""
        question = text(row, self.question)
        choices = self.choices_of(row)
        there = [choice for choice in choices if choice is not None]
        twice = next((choice for choice in there if there.count(choice) > 1), None)
        if twice is not None:
            raise RowError(f"{self.what} has identical choices: {twice!r} occurs {there.count(twice)} times.")
        right = choices[self._index(row, choices)]
        if right is None:
            raise RowError(f"column {self.answer!r} is {row[self.answer]!r}, and the column of that choice is empty.")
        return multiple_choice(f"Question: {question}\nAnswer:", there, there.index(right))

    def choices_of(self, row: Mapping[str, Any]) -> list[str | None]:
        """Return the choices by number; None for a choice whose own column is empty in this row."""
        if isinstance(self.choices, str):
            return list(texts(row, self.choices))
        absent = next((name for name in self.choices if name not in row), None)
        if absent is not None:
            there = ", ".join(map(str, row)) or "none"
            raise RowError(
                f"no column {absent!r}; there are: {there}. Where a choice is missing, write null or no text."
            )
        values = {name: row[name] for name in self.choices}
        blank = {name for name, value in values.items() if isinstance(value, str) and not value.strip()}
        empty = blank | {name for name, value in values.items() if value is None}
        if len(values) - len(empty) < 2:
            raise RowError(f"{self.what} hold {len(values) - len(empty)} choice(s); at least two are needed.")
        return [None if name in empty else checked_text(value, f"column {name!r}") for name, value in values.items()]

    def fault(self, rows: Iterable[Mapping[str, Any]]) -> str | None:
        """Return the fault that the rows of a file have in common, with its remedy; None if none is known."""
        return common_fault(self, rows)

    def number(self, answer: Any) -> int | None:
        """Return the number that an answer gives, in the file's own count; None if the answer gives no number."""
        if isinstance(answer, str) and self.answer_base is not None and _WHOLE.fullmatch(answer.strip()):
            return int(answer)
        return answer if isinstance(answer, int) and not isinstance(answer, bool) else None

    @property
    def what(self) -> str:
        """The column or columns of the choices, in words."""
        if isinstance(self.choices, str):
            return f"column {self.choices!r}"
        return f"columns {', '.join(map(repr, self.choices))}"

    def _index(self, row: Mapping[str, Any], choices: Sequence[str | None]) -> int:
        answer = column(row, self.answer)
        number = self.number(answer)
        if number is not None:
            return self._counted(number, choices)
        if not isinstance(answer, str):
            written = f"{answer}, no whole number" if isinstance(answer, float) else kind(answer)
            raise RowError(f"column {self.answer!r} is {written}; an index, a letter or a choice's text was expected.")
        return self._named(answer.strip(), choices)

    def _counted(self, number: int, choices: Sequence[str | None]) -> int:
        base = self.answer_base or 0
        if base <= number < base + len(choices):
            return number - base
        written = f' It is the text of a choice: write it as text, "{number}".' if str(number) in choices else ""
        raise RowError(
            f"column {self.answer!r} is {number}, outside {base}..{base + len(choices) - 1} ({base} is the first "
            f"choice).{written}"
        )

    def _named(self, answer: str, choices: Sequence[str | None]) -> int:
        """Return the index of the choice whose text, letter or column is ``answer``.

        A small letter counts only if nothing else matches. RowError if nothing matches, or two choices do.
        """
        letters = [chr(ord("A") + index) for index in range(min(len(choices), 26))]
        columns = [] if isinstance(self.choices, str) else list(self.choices)
        meant = {names.index(answer) for names in (list(choices), letters, columns) if answer in names}
        if not meant and answer.upper() in letters:
            meant = {letters.index(answer.upper())}
        if len(meant) == 1:
            return meant.pop()
        if meant:
            raise RowError(
                f"column {self.answer!r} is {answer!r}, a choice's text and another's letter; write the index."
            )
        raise RowError(
            f"column {self.answer!r} is {answer!r}, neither a letter A..{letters[-1]} nor the text of a choice."
        )


def own_task(name: str, path: Path, columns: Columns, test: Path | None = None) -> Task:
    """Return the task of a JSON lines file; without a ``test`` file, a fifth of its rows is the test (`FileSource`)."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"Task name {name!r}: use up to 64 of a-z, 0-9, '_' and '-', beginning with a letter or digit."
        )
    source = FileSource(path, test)
    return Task(name, source, columns.example, source.train, source.test, columns.fault)
