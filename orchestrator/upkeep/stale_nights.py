"""Pure: what of a sweep's nights is stale by its age, unless the newest night, a baseline or the frontier needs it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from orchestrator.recipe.nightly_section import KeepSpec
from orchestrator.store.nights_folder import (
    ANCHORS,
    CANARY,
    CONFIRM,
    FRESH,
    FRONTIER,
    LOSSES,
    MEASURED,
    NIGHT_JSON,
    NIGHTS,
    TOLD,
    date_of,
)
from orchestrator.wording import count

RUNS = tuple(f"{sweep}/{part}" for sweep in (CANARY, FRESH) for part in ("runs", "logs", ".ray"))
"""In the folder of a night: the runs that the night has trained, with adapters and checkpoints."""
ONCE = (CONFIRM, "bisect", ".cache")
"""In the folder of a night: the files that no later night reads."""
ITEMS = (CANARY, FRESH, MEASURED, LOSSES, ANCHORS)
"""In the folder of a night: the measurements of the night per item and per step."""
PAGES = ("index.html", "summary.md", NIGHT_JSON, FRONTIER, TOLD)
INCOMPLETE, WORSE, RULER_MOVED = "incomplete", "worse", "ruler_moved"


@dataclass(frozen=True)
class NightFacts:
    """What decides, beside the names: the date of ``today``, and for how many days nights are kept.

    ``verdicts`` is the verdict of every night that is over, by night; the rows of nights.jsonl stay when a folder goes.
    ``frontier`` are the nights that are in the run keys of the frontier.
    """

    today: date
    keep: KeepSpec
    verdicts: Mapping[str, str]
    frontier: Collection[str] = ()


@dataclass(frozen=True)
class Needs:
    """The nights of which something is needed at any age: ``all`` of it, its ``runs``, or what it ``measured``."""

    all: Collection[str]
    runs: Collection[str]
    measured: Collection[str]


def segment_of(verdicts: Mapping[str, str]) -> list[str]:
    """Return the nights that a baseline may need, the oldest first: from the night on which the ruler last moved.

    A night that was better may also begin a segment, or may be a recovery, of which the older nights are the baseline.
    The verdict alone does not tell, so the older nights stay. An incomplete night is in no baseline.
    """
    names = sorted(verdicts)
    moved = [name for name in names if verdicts[name] == RULER_MOVED]
    return [name for name in names if name >= max(moved, default="") and verdicts[name] != INCOMPLETE]


def needs_of(begun: Collection[str], facts: NightFacts) -> Needs:
    """Return what is needed at any age of the nights that have ``begun``."""
    segment = segment_of(facts.verdicts)
    whole = [name for name, verdict in facts.verdicts.items() if verdict != INCOMPLETE and name in begun]
    baseline = [name for name in segment if facts.verdicts[name] != WORSE and name in begun]
    runs = {*baseline[-1:], *facts.frontier}
    newest = {name for names in (begun, whole) if (name := max(names, default=""))}
    return Needs(all=newest, runs=runs, measured={*segment, *runs})


def named(files: Collection[str], facts: NightFacts) -> Iterator[tuple[str, str]]:
    """Yield the name of everything of the nights that is stale, with the reason; an outer name before its parts.

    ``files`` are the names in the sweep's folder. A name that no night gives to a file is unknown, and stays.
    """
    nights = _nights(files)
    needs = needs_of(nights, facts)
    for night, names in nights.items():
        day = date_of(night)
        if day is None or night in needs.all:
            continue
        parts = dict(_parts(night, (facts.today - day).days, needs, facts.keep))
        there = [name for name in names if name and not name.endswith("/")]
        if set(PAGES) <= parts.keys() and all(_is_below(name, parts) for name in there):
            yield f"{NIGHTS}/{night}", parts[PAGES[0]].replace("the page", "all")
            continue
        for part, reason in parts.items():
            if any(name == part or name.startswith(f"{part}/") for name in names):
                yield f"{NIGHTS}/{night}/{part}", reason


def _parts(night: str, age: int, needs: Needs, keep: KeepSpec) -> Iterator[tuple[str, str]]:
    """Yield the parts of a night's folder that are stale at an age in days, with the reason."""
    ago = f"of the night {count(age, 'day')} ago"
    if age > keep.runs_days:
        reason = f"the runs {ago} (nightly.keep.runs_days: {keep.runs_days})"
        yield from ((part, reason) for part in ONCE)
        if night not in needs.runs:
            yield from ((part, reason) for part in RUNS)
    if night in needs.measured:
        return
    if age > keep.predictions_days:
        reason = f"the predictions {ago} (nightly.keep.predictions_days: {keep.predictions_days})"
        yield from ((part, reason) for part in ITEMS)
    if age > keep.pages_days:
        yield from ((part, f"the page {ago} (nightly.keep.pages_days: {keep.pages_days})") for part in PAGES)


def _nights(files: Collection[str]) -> dict[str, set[str]]:
    """Return the names below the folder of each night, by night."""
    nights: dict[str, set[str]] = defaultdict(set)
    for name in files:
        first, _, rest = name.partition("/")
        night, slash, below = rest.partition("/")
        if first == NIGHTS and slash and date_of(night):
            nights[night].add(below)
    return nights


def _is_below(name: str, parts: Collection[str]) -> bool:
    return any(name == part or name.startswith(f"{part}/") for part in parts)
