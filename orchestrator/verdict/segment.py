"""What history leaves to compare with: the nights of the baseline, the bad nights that stand, the last whole night.

The baseline is all whole nights since the last change point: since the ruler moved, since the canary's settings
changed, since a confirmed gain, or since a loss that somebody accepted. Which nights are left out is decided by their
status alone, so nobody keeps a baseline by hand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from orchestrator.verdict.night import Night, World

LONGEST = 365
"""The newest nights of a segment that are compared with; a year more would narrow nothing."""


@dataclass(frozen=True)
class Segment:
    """``baseline`` and ``bad`` have the oldest night first.

    ``bad`` are the nights of a confirmed loss that stands; empty if none stands. ``last`` is the newest whole night of
    any status, None on the first night. ``dropped`` is the first bad night of a loss that stood under other settings
    and that nothing of tonight is comparable with; "" without one.
    """

    baseline: tuple[Night, ...] = ()
    bad: tuple[Night, ...] = ()
    last: Night | None = None
    dropped: str = ""


def segment_of(history: Sequence[Night], tonight: World, accepted: Collection[str] = ()) -> Segment:
    """Return what history leaves for tonight's world. Nights of other settings are not compared with."""
    baseline: list[Night] = []
    bad: list[Night] = []
    last: Night | None = None
    for night in history:
        if night.status in (None, "incomplete"):
            continue
        if last is not None and night.world.settings != last.world.settings:
            baseline, bad = [], []
        last = night
        if night.status == "worse" and not _is_accepted(night, accepted):
            bad = [*(bad if bad and bad[-1].since == night.since else []), night]
        elif _begins_anew(night, stands=bool(bad), baseline=baseline, accepted=accepted):
            baseline, bad = [night], []
        else:
            baseline.append(night)
            bad = []
    dropped = ""
    if last is not None and last.world.settings != tonight.settings:
        dropped = (bad[0].since or bad[0].name) if bad else ""
        baseline, bad = [], []
    return Segment(tuple(baseline[-LONGEST:]), tuple(bad[-LONGEST:]), last, dropped)


def _begins_anew(night: Night, stands: bool, baseline: Sequence[Night], accepted: Collection[str]) -> bool:
    """Return whether the night is the first of a new baseline.

    A better night begins one if it improves on the baseline, not if it ends a loss.
    """
    if night.status == "worse":
        return not (baseline and _is_accepted(baseline[0], accepted) and baseline[0].since == night.since)
    return night.status == "ruler_moved" or (night.status == "better" and not stands)


def _is_accepted(night: Night, accepted: Collection[str]) -> bool:
    """Return whether somebody accepted the loss on this night or earlier."""
    return night.status == "worse" and any((night.since or night.name) <= name <= night.name for name in accepted)


def names(nights: Iterable[Night]) -> tuple[str, ...]:
    """Return the names of the nights."""
    return tuple(night.name for night in nights)
