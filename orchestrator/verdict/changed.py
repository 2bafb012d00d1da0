"""What is under tonight's code that was not there on an earlier night, and on which night each thing came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.verdict.night import Night, World
from orchestrator.verdict.verdict import Change


def changes(reference: Night | None, between: Sequence[Night], tonight: Night) -> tuple[Change, ...]:
    """Return what differs between the reference and tonight.

    ``between`` are the nights after the reference, the oldest first, also bad and incomplete ones, because they tell
    since when; a night without a world tells nothing. Each change is dated with the first night from which on tonight's
    value was there without a break.
    """
    if reference is None:
        return ()
    before, now = _things(reference.world), _things(tonight.world)
    nights = [*between, tonight]
    return tuple(
        Change(what, name, before.get((what, name)), now.get((what, name)), _since(nights, (what, name), now))  # type: ignore[arg-type]
        for what, name in sorted({*before, *now}, key=lambda key: (ORDER.index(key[0]), key[1]))
        if before.get((what, name)) != now.get((what, name))
    )


ORDER = ("commit", "code", "machine", "version", "base", "rows", "settings")
"""The order in which changes are shown: what people did first, then what happened to them."""


def _things(world: World) -> Mapping[tuple[str, str], str | None]:
    """Return every part of a world by (kind, name)."""
    things: dict[tuple[str, str], str | None] = {
        ("commit", ""): world.commit,
        ("code", ""): world.code,
        ("machine", ""): world.machine,
        ("base", ""): world.base,
        ("settings", ""): world.settings,
    }
    things.update({("version", name): version for name, version in world.versions.items()})
    things.update({("rows", task): rows for task, rows in world.rows.items()})
    return things


def _since(nights: Sequence[Night], key: tuple[str, str], now: Mapping[tuple[str, str], str | None]) -> str:
    first = nights[-1].name
    for night in reversed(nights):
        if not night.world.code:  # broken off before it was measured: it tells nothing
            continue
        if _things(night.world).get(key) != now.get(key):
            break
        first = night.name
    return first
