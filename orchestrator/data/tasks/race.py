"""RACE: reading comprehension from Chinese middle and high school English exams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.data.example import Example
from orchestrator.data.sources import HubSource
from orchestrator.data.tasks.columns import column, position, text, texts
from orchestrator.data.tasks.prompts import multiple_choice

SOURCE = HubSource(id="ehovy/race", config="all", train="train", test="test")


def example(row: Mapping[str, Any]) -> Example:
    """Return article and question; a blank in the question stays as it is written, ``_``."""
    options = texts(row, "options")
    answer = position(column(row, "answer"), [chr(ord("A") + n) for n in range(len(options))], "column 'answer'")
    prompt = f"Article: {text(row, 'article')}\nQuestion: {text(row, 'question')}\nAnswer:"
    return multiple_choice(prompt, options, answer)
