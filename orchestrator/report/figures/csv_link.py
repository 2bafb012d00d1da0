"""A table as a link that contains the table as CSV, so that the page stays one file and its numbers can be saved."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from urllib.parse import quote


def csv_link(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a ``data:`` address of the table as CSV; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return f"data:text/csv;charset=utf-8,{quote(text.getvalue())}"
