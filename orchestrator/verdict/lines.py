"""A verdict in one line of words, as the terminal, the page and a message show it."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.statistics.thresholds import ROUNDING
from orchestrator.verdict.night import Status
from orchestrator.verdict.verdict import CellVerdict, Confirmed
from orchestrator.wording import between_points, count, listed, points

MOST_NAMED = 3


def line_of(
    status: Status,
    night: str,
    since: str,
    cells: Sequence[CellVerdict],
    baseline: int,
    why: str,
    confirmed: Confirmed | None,
) -> str:
    """Return the line; ``baseline`` is the number of nights compared with, ``why`` as of `Verdict`."""
    calm = f"same bytes in {count(len(cells), 'cell')}, as on the nights before ({baseline} in the baseline)"
    if status == "within_noise":
        first = f"the first night of a baseline: {count(len(cells), 'cell')} measured, nothing to compare with"
        calm = _within_noise(cells) if baseline else first
    return {
        "incomplete": f"incomplete: {why}",
        "ruler_moved": f"the ruler moved: {why}; the night's models are not judged, and a new baseline begins",
        "worse": f"worse {_since(night, since)}: {_named(cells, 'worse')}{_confirmed(confirmed)}",
        "better": f"better: {why or _named(cells, 'better')}{_confirmed(confirmed)}",
    }.get(status, calm)


def _within_noise(cells: Sequence[CellVerdict]) -> str:
    moved = [cell for cell in cells if cell.status in ("moved", "suspected")]
    widest = max((abs(cell.difference or 0.0) for cell in moved), default=0.0)
    suspected = [cell for cell in cells if cell.status == "suspected"]
    size = f", by {points(widest).lstrip('+')} points at most" if widest > ROUNDING else ""
    doubt = f"; {_list(suspected)} suspected, not confirmed" if suspected else ""
    return f"within noise: bytes moved in {len(moved)} of {count(len(cells), 'cell')}{size}{doubt}"


def _since(night: str, since: str) -> str:
    return "tonight" if night == since else f"since {since}"


def _named(cells: Sequence[CellVerdict], status: str) -> str:
    return _list([cell for cell in cells if cell.status == status])


def _list(cells: Sequence[CellVerdict]) -> str:
    chosen = sorted(cells, key=lambda cell: -abs(cell.difference or 0.0))
    words = [f"{cell.task} {cell.method} {points(cell.difference)} points" for cell in chosen[:MOST_NAMED]]
    if len(chosen) > MOST_NAMED:
        words.append(f"{len(chosen) - MOST_NAMED} more")
    return listed(words) if words else ""


def _confirmed(confirmed: Confirmed | None) -> str:
    if confirmed is None or not confirmed.holds:
        return ""
    interval = f", 95 % {between_points(confirmed.interval)}" if confirmed.interval else ""
    return f" (confirmed with {count(confirmed.seeds, 'fresh seed')}: {points(confirmed.difference)} points{interval})"
