"""Pure: a night as a row of ``nights.jsonl``, and the rows in the order of their nights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

COLUMNS = ("task", "method", "status", "accuracy", "seconds", "memory")
"""What a row keeps of each cell: accuracy as a share, training time in seconds, peak memory in bytes."""
Row = dict[str, Any]


def row_of(night: Mapping[str, Any]) -> Row:
    """Return the row of a night from the content of its ``night.json``."""
    evidence, cost = night.get("evidence") or {}, night.get("cost") or {}
    return {
        "night": night["night"],
        "verdict": night["verdict"],
        "line": night.get("line", ""),
        "since": night.get("since"),
        "told": was_told(night.get("told")),
        "cells": [{name: cell.get(name) for name in COLUMNS} for cell in night.get("cells") or ()],
        "seconds": cost.get("seconds"),
        "e": evidence.get("e"),
        "p": evidence.get("p"),
    }


def was_told(told: Any) -> bool:
    """Return whether people were told, from what a row or a ``night.json`` holds of it."""
    return told.get("status") == "told" if isinstance(told, Mapping) else bool(told)


def in_order(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows by night, the oldest first; of several rows of a night the last one, which is the newest."""
    return [row for _, row in sorted({str(row["night"]): row for row in rows}.items())]
