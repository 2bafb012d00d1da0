"""The lines that tell a person what is stale in a sweep's folder, how large it is, and how to delete it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator import objects
from orchestrator.upkeep.stale import Stale
from orchestrator.wording import count


def lines_of(rows: Sequence[Stale], folder: Path, driver: str | None, *, deleting: bool) -> list[str]:
    """Return a line per stale thing, with size and reason, then their sum and what comes next."""
    place = objects.address_of(folder) or str(folder)
    if not rows:
        return [f"{place}: nothing is stale"]
    lines = [f"{_bytes(row.size):>9}  {row.name}: {row.reason}" for row in rows]
    total = f"{_bytes(sum(row.size for row in rows)):>9}  in {count(sum(row.files for row in rows), 'file')}, {place}"
    if deleting:
        return [*lines, f"{total}: now deleted"]
    if driver:
        return [*lines, f"{total}; {driver} works on this sweep, so nothing can be deleted now"]
    return [*lines, f"{total}; nothing is deleted without --delete"]


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
