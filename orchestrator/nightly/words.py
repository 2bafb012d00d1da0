"""Pure: the words of a night for people: verdicts, the status of a cell, kinds of change, times and sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.wording import NOTHING, number, percent

VERDICTS = {
    "worse": "worse",
    "ruler_moved": "ruler moved",
    "incomplete": "incomplete",
    "better": "better",
    "within_noise": "within noise",
    "same_bytes": "same bytes",
}
"""Each verdict in words, what needs a person first."""
STATUSES = {
    "worse": "worse",
    "suspected": "suspected",
    "moved": "bits moved",
    "unchanged": "unchanged",
    "better": "better",
    "never_passed": "never passed",
    "broken": "broken",
    "too_few": "too few data",
    "new": "new",
}
"""Each status of a cell in words, in the order of a page's rows."""
CHANGES = {
    "commit": "commit",
    "code": "sources",
    "machine": "machine",
    "version": "version",
    "base": "base",
    "rows": "rows",
    "settings": "settings",
}
"""Each kind of a thing under a night that may change, in words."""
COUNTS = (
    ("cells", "in all"),
    ("worse", "worse"),
    ("suspected", "suspected"),
    ("unchanged", "unchanged"),
    ("moved", "with other bits only"),
    ("better", "better"),
    ("new", "new"),
    ("too_few", "with too few data"),
    ("never_passed", "never passed"),
    ("broken", "broken"),
)
"""What a night counts, and the words behind each number."""


def duration(seconds: float | None) -> str:
    """Return a time as people read it: ``0.4 s``, ``52 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def evidence(value: float | None) -> str:
    """Return an E or a p with three digits: ``1.4``, ``0.00027``, ``71,000``."""
    if value is None:
        return NOTHING
    return number(value, 0) if 100 <= abs(value) < 1e9 else f"{value:.3g}"


def size(amount: float | None) -> str:
    """Return a number of bytes as ``512 MiB`` or ``1.5 GiB``."""
    if amount is None:
        return NOTHING
    mebibytes = amount / 2**20
    return f"{number(mebibytes, 0)} MiB" if mebibytes < 1000 else f"{number(mebibytes / 1024, 1)} GiB"


def short(value: Any) -> str:
    """Return a value of a change: of a hash its first 12 signs, of nothing a dash."""
    if value is None or value == "":
        return NOTHING
    text = str(value)
    return text[:12] if len(text) >= 40 and text.isalnum() else text


def said(value: Any) -> str:
    """Return a value of any shape as one line: a mapping as ``a 1, b 2``, a list with commas.

    >>> said({"torch": "2.13", "ray": "2.60"})
    'torch 2.13, ray 2.60'
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {said(inner)}" for name, inner in value.items()) or NOTHING
    if isinstance(value, list | tuple):
        return ", ".join(map(said, value)) or NOTHING
    return short(value)


def answered(value: Any) -> str:
    """Return how an item was answered: a share of runs as ``right in 50 % of runs``, anything else as it is written."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return {0.0: "wrong", 1.0: "right"}.get(float(value), f"right in {percent(value, 0)} of runs")
    return NOTHING if value is None or value == "" else str(value)


def rank_of(cell: Mapping[str, Any]) -> int:
    """Return the place of a cell's status in the order of rows; a status of another version comes last."""
    order = list(STATUSES)
    return order.index(cell["status"]) if cell["status"] in order else len(order)


def cell_name(cell: Mapping[str, Any]) -> str:
    """Return the name of a cell: its method on its task."""
    return f"{cell['method']} on {cell['task']}"
