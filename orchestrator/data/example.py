"""An example: one question of any task, as a prompt, the choices that can follow it, and the right choice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """One multiple-choice question.

    ``prompt`` ends without white space. Every choice begins with the white space that joins it to the prompt, so
    ``prompt + choices[k]`` is the text whose likelihood is scored. ``answer`` is the index of the right choice.
    """

    prompt: str
    choices: tuple[str, ...]
    answer: int


class RowError(ValueError):
    """A row cannot become an `Example`; the message says why. The caller knows the row's file and line."""
