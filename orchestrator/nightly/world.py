"""Pure: the world of a night, and whether one night was made by one world."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.verdict.night import World
from orchestrator.wording import count, listed

Row = Mapping[str, Any]
UNKNOWN = "unknown"


def world_of(
    rows: Sequence[Row],
    surroundings: Mapping[str, Any] | None,
    *,
    base: str,
    data: Mapping[str, str],
    settings: str,
    commit: str | None,
) -> World:
    """Return the world in which the rows of the canary were made.

    ``surroundings`` are those of the worker that scored the base; None if nobody could. The kind of machine is that of
    the rows: a cluster may have several. ``base``, ``data`` (by task) and ``settings`` are fingerprints.
    """
    known = surroundings or {"machine": UNKNOWN, "code": UNKNOWN, "versions": {}}
    makers = [maker for row in rows for maker in makers_of(row)]
    others = sorted({str(maker["device"]) for maker in makers if not str(known["machine"]).startswith(maker["device"])})
    worlds = sorted({int(maker.get("world", 1)) for maker in makers}) or [1]
    workers = listed([count(number, "worker") for number in worlds])
    return World(
        machine=f"{' and '.join([str(known['machine']), *others])}, {workers}",
        versions=dict(known["versions"]),
        commit=commit,
        code=str(known["code"]),
        base=base,
        rows=dict(data),
        settings=settings,
    )


def mixed(rows: Sequence[Row], surroundings: Mapping[str, Any] | None) -> str:
    """Return why the night is of no single world: it was broken off, and went on under other code or versions.

    "" for a night of one world.
    """
    makers = [maker for row in rows for maker in makers_of(row)]
    codes = {str(maker["code"]) for maker in makers} | _of(surroundings, "code")
    if len(codes) > 1:
        return f"it was made by {len(codes)} versions of the code ({listed(sorted(codes))})"
    for name in sorted({name for maker in makers for name in maker.get("versions", {})}):
        versions = {str(maker["versions"].get(name)) for maker in makers}
        versions |= _of((surroundings or {}).get("versions"), name)
        if len(versions) > 1:
            return f"it was made by {len(versions)} versions of {name} ({listed(sorted(versions))})"
    return ""


def makers_of(row: Row) -> Iterable[Mapping[str, Any]]:
    """Return what made the run of a row, attempt after attempt; nothing for a run without a result."""
    return [maker for maker in (*(row.get("made_before") or ()), row.get("made_by") or {}) if "code" in maker]


def _of(values: Mapping[str, Any] | None, name: str) -> set[str]:
    return {str(values[name])} if values and name in values else set()
