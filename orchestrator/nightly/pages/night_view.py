"""Pure: what the page of a night shows, from ``night.json`` and the rows of the nights until then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.nightly.history import was_told
from orchestrator.nightly.pages.panels import panels_of
from orchestrator.nightly.words import COUNTS, VERDICTS, rank_of
from orchestrator.wording import count

JUDGED = ("worse", "suspected", "moved", "unchanged")
BETTER = ("better",)
SHOWN_NIGHTS = 90
"""How many nights the spark lines of a night's page reach back; the trend page has all."""
WHOLE = {
    "cell": (
        *("task", "method", "status", "accuracy", "baseline", "difference", "interval", "p", "nights_in_row"),
        *("first_bad", "bytes", "flips", "flips_lost", "flips_won", "seconds", "slower", "memory", "command"),
        "link",
    ),
    "baseline": ("nights", "mean", "interval"),
    "bytes": ("equal", "against", "comparable", "run", "first_step", "step_before", "step_after"),
    "flip": ("index", "before", "after", "question"),
    "change": ("what", "name", "before", "after", "since"),
    "anchor": ("kind", "task", "accuracy", "before", "median_score_change", "flips", "moved"),
    "confirmed": ("seeds", "p", "difference", "interval", "cells", "holds"),
    "culprit": (
        *("task", "method", "first_bad", "last_good", "changed", "flips", "flips_lost", "flips_won", "command"),
        "bisect",
    ),
    "evidence": ("p", "e", "threshold_p", "threshold_e", "joined_over"),
    "frontier": ("trained", "kept", "renewed", "why"),
    "champion": ("task", "run_key", "standing", "decision", "p", "difference", "why"),
    "cost": ("seconds", "train_seconds", "usd"),
    "told": ("to", "status", "attempts", "problem"),
    "commands": ("again", "bisect", "roll_back", "accept"),
}
"""The keys of each part of ``night.json``; a key that is missing there is None on the page."""


def night_view(night: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the values of the template; ``rows`` are those of all nights until this one, in order."""
    cells = sorted((cell_view(cell) for cell in night.get("cells") or ()), key=rank_of)
    judged, better = ([cell for cell in cells if cell["status"] in statuses] for statuses in (JUDGED, BETTER))
    apart = [cell for cell in cells if cell["status"] not in (*JUDGED, *BETTER)]
    return {
        "night": str(night["night"]),
        "name": str(night.get("name") or "sweep"),
        "verdict": str(night["verdict"]),
        "line": str(night.get("line") or VERDICTS.get(str(night["verdict"]), night["verdict"])),
        "why": str(night.get("broken") or ""),
        "notes": [str(note) for note in night.get("notes") or ()],
        "counts": counted(night.get("counts") or {}),
        "before": str(rows[-2]["night"]) if len(rows) > 1 else None,
        "nights": len(rows),
        "since": rows[-1].get("since") if rows else None,
        "changed": _each("change", night.get("changed")),
        "culprit": _culprit(night),
        "judged": judged,
        "better": better,
        "apart": apart,
        "panels": [
            panels_of(rows[-SHOWN_NIGHTS:], (cell["task"], cell["method"]), cell | _points(night, cell))
            for cell in [*judged, *better, *apart]
        ],
        "anchors": _each("anchor", night.get("anchors")),
        "confirmed": _one("confirmed", night.get("confirmed")),
        "evidence": _one("evidence", night.get("evidence")),
        "frontier": _one("frontier", night.get("frontier")),
        "champions": _each("champion", night.get("champions")),
        "cost": _one("cost", night.get("cost")) or whole("cost", {}),
        "told": _one("told", night.get("told")),
        "was_told": was_told(night.get("told")),
        "series": dict(night.get("series") or {}),
        "commands": whole("commands", night.get("commands") or {}),
    }


def whole(kind: str, part: Mapping[str, Any]) -> dict[str, Any]:
    """Return a part of ``night.json`` with all keys of its kind."""
    return {key: part.get(key) for key in WHOLE[kind]}


def cell_view(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cell with all keys, also in its parts; a baseline that is missing is none, bytes may be None."""
    view = whole("cell", cell)
    view["baseline"] = whole("baseline", view["baseline"] or {})
    view["bytes"] = _one("bytes", view["bytes"])
    view["flips"] = _each("flip", view["flips"])
    return view


def counted(counts: Mapping[str, Any]) -> list[str]:
    """Return the counts as words, without those of 0 but for "worse"."""
    said = []
    for name, words in COUNTS:
        amount = int(counts.get(name) or 0)
        if name == "cells":
            said.append(f"{count(amount, 'cell')} {words}")
        elif amount or name == "worse":
            said.append(f"{amount:,} {words}")
    return said


def _culprit(night: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the culprit; flips that it does not count are counted as its cell counts them."""
    view = _one("culprit", night.get("culprit"))
    if view is None:
        return None
    view["changed"] = _each("change", view["changed"])
    view["flips"] = _each("flip", view["flips"])
    cells = night.get("cells") or ()
    own = [cell for cell in cells if (cell["task"], cell["method"]) == (view["task"], view["method"])]
    for key in ("flips_lost", "flips_won"):
        view[key] = view[key] if view[key] is not None or not own else own[0].get(key)
    return view


def _points(night: Mapping[str, Any], view: Mapping[str, Any]) -> dict[str, Any]:
    """Return the change points of a cell, which are no part of its row on the page."""
    cells = night.get("cells") or ()
    own = [cell for cell in cells if (cell["task"], cell["method"]) == (view["task"], view["method"])]
    return {"change_points": own[0].get("change_points") if own else None}


def _each(kind: str, parts: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    return [whole(kind, part) for part in parts or ()]


def _one(kind: str, part: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return whole(kind, part) if part else None
