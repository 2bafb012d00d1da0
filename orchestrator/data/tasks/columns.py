"""Read a row's columns with checks, and make an `Example` of its question and choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.data.example import RowError

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


def kind(value: Any) -> str:
    """Return the kind of a JSON value in words, such as "a number"."""
    return "null" if value is None else _KINDS.get(type(value), type(value).__name__)
