"""The rows of all parts as tables in Markdown and JSON; both files are written again after every row."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Rows = Iterator[Row]


@dataclass
class Table:
    """The rows that a part has measured so far; ``status`` is "running", "done", or the reason for an early end."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)
    status: str = "running"
    seconds: float = 0.0


def page(machine: list[str], tables: list[Table]) -> str:
    """Return all tables as one page of Markdown."""
    parts = ["# GPU check", "", *[f"- {line}" for line in machine], ""]
    for table in tables:
        parts += [f"## {table.name}: {table.title}", "", f"{table.status}, {table.seconds:.0f} s", ""]
        parts += [*lines(table.rows), ""] if table.rows else []
    return "\n".join(parts)


def lines(rows: list[Row]) -> list[str]:
    """Return the rows as the lines of a Markdown table; its columns are those of all rows together."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return [
        "| " + " | ".join(columns) + " |",
        "|" + " --- |" * len(columns),
        *("| " + " | ".join(_cell(row.get(column, "")) for column in columns) + " |" for row in rows),
    ]


def brief(row: Row) -> str:
    """Return a row in one line."""
    return ", ".join(f"{column} {_cell(value)}" for column, value in row.items())


def write(place: Path, machine: list[str], tables: list[Table]) -> None:
    """Write ``gpu_check.md`` and ``gpu_check.json`` to the folder ``place``."""
    (place / "gpu_check.md").write_text(page(machine, tables))
    content = {"machine": machine, "parts": [asdict(table) for table in tables]}
    (place / "gpu_check.json").write_text(json.dumps(content, indent=1, default=str))


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value).replace("|", "\\|")
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
