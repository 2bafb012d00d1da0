"""Your own multiple-choice file as a task: the recipe says which columns hold question, choices and answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import InputError
from orchestrator.tasks.columns import column, kind, multiple_choice, text, texts
from orchestrator.tasks.example import Example, RowError
from orchestrator.tasks.source import FileSource, Task

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Columns:
    """The names of the columns, and the example that a row with them is."""

    question: str = "question"
    choices: str = "choices"
    answer: str = "answer"

    def example(self, row: Mapping[str, Any]) -> Example:
        """Return the example of a row; identical choices are refused, for in your own file they are a mistake."""
        question = text(row, self.question)
        choices = texts(row, self.choices)
        twice = next((choice for choice in choices if choices.count(choice) > 1), None)
        if twice is not None:
            raise RowError(
                f"column {self.choices!r} has identical choices: {twice!r} occurs {choices.count(twice)} times."
            )
        return multiple_choice(f"Question: {question}\nAnswer:", choices, self._index(row, choices))

    def _index(self, row: Mapping[str, Any], choices: list[str]) -> int:
        answer = column(row, self.answer)
        if isinstance(answer, bool) or not isinstance(answer, int | str):
            raise RowError(
                f"column {self.answer!r} is {kind(answer)}; an index, a letter or a choice's text was expected."
            )
        if isinstance(answer, int):
            if not 0 <= answer < len(choices):
                raise RowError(
                    f"column {self.answer!r} is {answer}, outside 0..{len(choices) - 1} (0 is the first choice)."
                )
            return answer
        return self._named(answer.strip(), choices)

    def _named(self, answer: str, choices: list[str]) -> int:
        letters = [chr(ord("A") + index) for index in range(min(len(choices), 26))]
        meant = {found.index(answer) for found in (choices, letters) if answer in found}
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
    """Return the task of a JSON lines file; without a ``test`` file a fifth of the rows is held out (`FileSource`)."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"Task name {name!r}: use up to 64 of a-z, 0-9, '_' and '-', beginning with a letter or digit."
        )
    source = FileSource(path, test)
    return Task(name, source, columns.example, source.train, source.test)
