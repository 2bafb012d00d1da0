"""BoolQ: yes-or-no questions about a passage; the test's answers are hidden, so the validation split is the test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.data.example import Example, RowError
from orchestrator.data.sources import HubSource
from orchestrator.data.tasks.columns import column, kind, text
from orchestrator.data.tasks.prompts import multiple_choice

SOURCE = HubSource(id="google/boolq", config="default", train="train", test="validation")


def example(row: Mapping[str, Any]) -> Example:
    """Return passage and question, answered by `` no`` or `` yes``."""
    answer = column(row, "answer")
    if not isinstance(answer, bool):
        raise RowError(f"column 'answer' is {kind(answer)}; true or false was expected.")
    question = text(row, "question").rstrip("?").rstrip()
    return multiple_choice(f"{text(row, 'passage')}\nQuestion: {question}?\nAnswer:", ("no", "yes"), int(answer))
