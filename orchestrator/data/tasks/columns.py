"""Read a row's columns with checks, and make an `Example` of its question and choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.data.example import Example, RowError

_KINDS = {str: "text", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}


def column(row: Mapping[str, Any], name: str) -> Any:
    """Return the value of a column; RowError, with the names of the row's columns, if it is missing."""
    if name not in row:
        raise RowError(f"no column {name!r}; there are: {', '.join(map(str, row)) or 'none'}.")
    return row[name]


def text(row: Mapping[str, Any], name: str) -> str:
    """Return the text of a column, without the white space around it; RowError if it holds no text."""
    return checked_text(column(row, name), f"column {name!r}")


def texts(row: Mapping[str, Any], name: str) -> list[str]:
    """Return the texts of a column that holds a list, one text per choice; RowError if it holds no such list."""
    return checked_texts(column(row, name), f"column {name!r}")


def checked_text(value: Any, what: str) -> str:
    """Return ``value`` without the white space around it; RowError if it is no text, blank, or not encodable."""
    if not isinstance(value, str):
        raise RowError(f"{what} is {kind(value)}; text was expected.")
    if not value.strip():
        raise RowError(f"{what} is empty.")
    if "\0" in value:
        raise RowError(f"{what} contains a null character.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RowError(f"{what} contains half a surrogate pair at character {error.start + 1}.") from None
    return value.strip()


def checked_texts(value: Any, what: str) -> list[str]:
    """Return the texts of a list without the white space around them; RowError if there are fewer than two."""
    if not isinstance(value, list | tuple):
        raise RowError(f"{what} is {kind(value)}; a list of texts was expected.")
    if len(value) < 2:
        raise RowError(f"{what} has {len(value)} choice(s); at least two are needed.")
    return [checked_text(item, f"{what}[{index}]") for index, item in enumerate(value)]


def position(label: Any, labels: Sequence[str], what: str) -> int:
    """Return the index of a row's label among the labels of its choices; RowError if it is not there."""
    if isinstance(label, str) and label.strip() in labels:
        return labels.index(label.strip())
    hidden = " (a split that hides its answers? choose another)" if label in ("", None, -1) else ""
    raise RowError(f"{what} is {label!r}, outside the choices {', '.join(labels)}{hidden}.")


def multiple_choice(prompt: str, choices: Sequence[str], answer: int) -> Example:
    """Return the example of a question whose choices follow the prompt after one space.

    Published benchmarks sometimes repeat a choice (CommonsenseQA, OpenBookQA). Equal texts have equal likelihoods, so a
    repeated choice is merged into its first occurrence.
    """
    distinct = list(dict.fromkeys(choices))
    if len(distinct) < 2:
        raise RowError(f"all {len(choices)} choices are identical: {distinct[0]!r}; at least two must differ.")
    return Example(prompt, tuple(f" {choice}" for choice in distinct), distinct.index(choices[answer]))


def labelled(row: Mapping[str, Any], question: str) -> Example:
    """Return the example of a row in AI2's form: ``choices = {text: [...], label: [...]}``, ``answerKey`` a label."""
    choices = column(row, "choices")
    if not isinstance(choices, Mapping):
        raise RowError(
            f"column 'choices' is {kind(choices)}; an object with the lists 'text' and 'label' was expected."
        )
    if not {"text", "label"} <= choices.keys():
        raise RowError(f"column 'choices' has no 'text' or no 'label'; there are: {', '.join(choices) or 'none'}.")
    choice_texts = checked_texts(choices["text"], "column 'choices.text'")
    labels = checked_texts(choices["label"], "column 'choices.label'")
    if len(choice_texts) != len(labels) or len(set(labels)) != len(labels):
        raise RowError(
            f"{len(choice_texts)} choices and the labels {', '.join(labels)}: every choice needs a label of its own."
        )
    answer = position(column(row, "answerKey"), labels, "column 'answerKey'")
    return multiple_choice(f"Question: {text(row, question)}\nAnswer:", choice_texts, answer)


def kind(value: Any) -> str:
    """Return the kind of a JSON value in words, such as "a number"."""
    return "null" if value is None else _KINDS.get(type(value), type(value).__name__)
