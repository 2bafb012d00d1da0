"""What every task turns its rows into: a prompt, the choices that may follow it, and which one is right."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """One multiple-choice question.

    ``prompt`` ends without white space; every choice begins with the white space that joins it to the prompt, so
    ``prompt + choices[k]`` is the text whose likelihood is scored. ``answer`` is the index of the right choice.
    """

    prompt: str
    choices: tuple[str, ...]
    answer: int


class RowError(ValueError):
    """A row that cannot become an `Example`; the loader adds file and line."""
