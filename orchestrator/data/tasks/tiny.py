"""The tiny tasks: questions about the invented world, in the form that the base was pre-trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.data.example import Example
from orchestrator.tiny.exam import prompt


def example(row: Mapping[str, Any]) -> Example:
    """Return the prompt and choices of a row."""
    choices = tuple(f" {choice}" for choice in row["choices"])
    return Example(prompt(row["question"]), choices, int(row["answer"]))
