"""Pure: what in the folder of a sweep is stale, with its size and the reason; everything else is needed or unknown."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.files import DRAFT
from orchestrator.store.ends import CHECKPOINTS, ENDS
from orchestrator.store.inventory import Entry
from orchestrator.upkeep import stale_nights
from orchestrator.upkeep.stale_nights import NightFacts
from orchestrator.wording import count

GONE = ".gone"
"""The folder in a sweep's folder into which a thing is moved before it is deleted, so that no half of it stays."""
LOG_DAYS = 30
ERROR, MANIFEST, SOUND = ".error.txt", "CHECKPOINT.json", ".sound-"
DAMAGED = re.compile(r".+\.damaged(-\d+)?")
DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class Stale:
    """A file or a folder that nothing needs: its name within the sweep's folder, and how many files and bytes it is."""

    name: str
    reason: str
    files: int
    size: int


@dataclass(frozen=True)
class Facts:
    """What decides, beside the names: ``planned`` are the run keys that are needed, ``tasks`` the names of the tasks.

    ``ended_by`` is the attempt that the end of a run names, by run key; a run whose end cannot be read is not in it.
    ``champions`` is the run of each champion that stands, by task, and ``sound`` are the tasks whose champion is sound.
    ``best`` is the run that a task's champion has to be of; without an entry the champion stays. ``results`` are the
    run keys in results.jsonl; None if the file cannot be read. ``now`` is the time in seconds since 1970. ``nights``
    are the facts of the nights; None of a sweep without nights.
    """

    planned: Collection[str]
    tasks: Collection[str]
    ended_by: Mapping[str, int] = field(default_factory=dict)
    champions: Mapping[str, str] = field(default_factory=dict)
    sound: Collection[str] = ()
    best: Mapping[str, str] = field(default_factory=dict)
    results: Collection[str] | None = None
    now: float = 0.0
    nights: NightFacts | None = None


def stale(files: Mapping[str, Entry], facts: Facts) -> list[Stale]:
    """Return what is stale, the largest first; of two that lie in one another the outer one counts."""
    reasons: dict[str, str] = {}
    for name, reason in _named(files, facts):
        reasons.setdefault(name, reason)
    names = sorted(files)
    outer = [name for name in reasons if not any(parent in reasons for parent in _parents(name))]
    rows = [_sized(name, reasons[name], names, files) for name in outer]
    return sorted(rows, key=lambda row: (-row.size, row.name))


def ended_twice(files: Mapping[str, Entry]) -> list[tuple[str, str]]:
    """Return the key and the end of each run that has ended and has several attempts: the end says which one counts."""
    runs = _runs(files)
    ends = {key: next((end for end in ENDS if ENDS[end] in names), None) for key, names in runs.items()}
    return [(key, end) for key, end in ends.items() if end and len(_attempts(runs[key])) > 1]


def _named(files: Mapping[str, Entry], facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield the name of everything that is stale, with the reason; a name may come twice."""
    runs = _runs(files)
    for key, names in runs.items():
        if key not in facts.planned:
            yield f"runs/{key}", _not_planned(facts)
        else:
            yield from ((f"runs/{key}/{name}", reason) for name, reason in _of_run(names, facts.ended_by.get(key)))
    if facts.nights:
        yield from stale_nights.named(files, facts.nights)
    for name, entry in files.items():
        parts = name.rstrip("/").split("/")
        yield from _by_name(parts, entry, facts)
        yield from _by_key(parts, facts, runs)
        if parts[0] == "champions" and len(parts) > 2 and (reason := _of_champion(parts[1], facts)):
            yield f"champions/{parts[1]}", reason


def _by_name(parts: Sequence[str], entry: Entry, facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield what the name of a file, or its age, alone decides."""
    last, first = parts[-1], parts[0]
    if first == GONE and len(parts) > 1:
        yield "/".join(parts[:2]), "the rest of a gc that was ended"
    if first == ".ray":
        yield first, "files of Ray that nothing reads"
    if last.startswith(DRAFT):
        yield "/".join(parts), "half written when a process ended"
    if first == "runs" and DAMAGED.fullmatch(last):
        yield "/".join(parts), "damaged, and kept aside"
    if first == "logs" and len(parts) == 2 and last.startswith("pack-") and entry.modified:  # 0: a store without times
        days = (facts.now - entry.modified) / DAY_SECONDS
        if days > LOG_DAYS:
            yield "/".join(parts), f"a log of a pack, without a new line for {LOG_DAYS} days"


def _by_key(parts: Sequence[str], facts: Facts, runs: Mapping[str, Collection[str]]) -> Iterator[tuple[str, str]]:
    """Yield the files that lie beside the folder of a run and have its key in their name."""
    last, first = parts[-1], parts[0]
    if first == "runs" and len(parts) == 2 and last.endswith(ERROR):
        key = last.removesuffix(ERROR)
        if key not in facts.planned or _end(runs.get(key, ())):
            yield "/".join(parts), "the error of a run that has ended since, or that the recipe does not have"
    if first == "predictions" and len(parts) == 2:
        known = facts.planned if facts.results is None else facts.results
        if last.removesuffix(".jsonl") not in known:
            yield "/".join(parts), "predictions of a run that is not in results.jsonl"


def _of_run(names: Collection[str], ended_by: int | None) -> Iterator[tuple[str, str]]:
    """Yield what is stale in the folder of a run of the recipe; ``names`` lie below that folder."""
    attempts, end = _attempts(names), _end(names)
    if end:
        for number in attempts:
            if any(name.startswith(f"attempt-{number}/{CHECKPOINTS}/") for name in names):
                yield f"attempt-{number}/{CHECKPOINTS}", f"checkpoints of a run that is {end}"
            if ended_by in attempts and number != ended_by:
                yield f"attempt-{number}", f"attempt {number} of a run that attempt {ended_by} has ended"
        return
    for number in attempts:
        begin = f"attempt-{number}/{CHECKPOINTS}/"
        if number < max(attempts) and not any(
            name.startswith(begin) and name.endswith(f"/{MANIFEST}") for name in names
        ):
            yield f"attempt-{number}", f"attempt {number} left no checkpoint, and attempt {max(attempts)} has begun"


def _of_champion(name: str, facts: Facts) -> str | None:
    """Return why a champion is stale, by the name of its directory; None if it stands or may stand again.

    What lies beside a champion has its task and a dot in its name: the gate of nights needs and clears it.
    """
    if name.startswith("."):
        return None  # a draft, which `_by_name` knows
    task = name.partition(".")[0]
    if task not in facts.tasks:
        return "the champion of a task that the recipe does not have"
    if SOUND in name:
        return "a sound champion that a newer sound champion has replaced" if task in facts.sound else None
    run, best = facts.champions.get(task), facts.best.get(task)
    if name != task or run is None or best is None or run == best:
        return None
    return f"the champion is run {run}, and run {best} is the best now"


def _not_planned(facts: Facts) -> str:
    if facts.nights is None:
        return "a run that the recipe does not have"
    return f"a run of neither the recipe nor a frontier of {count(facts.nights.keep.runs_days, 'day')} or less ago"


def _end(names: Collection[str]) -> str | None:
    return next((end for end, name in ENDS.items() if name in names), None)


def _attempts(names: Collection[str]) -> list[int]:
    numbers = {name.split("/", 1)[0].removeprefix("attempt-") for name in names if name.startswith("attempt-")}
    return sorted(int(number) for number in numbers if number.isdigit())


def _runs(files: Mapping[str, Entry]) -> dict[str, set[str]]:
    """Return the names below the folder of each run, by run key."""
    runs: dict[str, set[str]] = defaultdict(set)
    for name in files:
        first, _, rest = name.partition("/")
        key, slash, below = rest.partition("/")
        if first == "runs" and slash and not key.startswith("."):
            runs[key].add(below)
    return runs


def _parents(name: str) -> Iterator[str]:
    parts = name.split("/")
    return ("/".join(parts[:end]) for end in range(1, len(parts)))


def _sized(name: str, reason: str, names: Sequence[str], files: Mapping[str, Entry]) -> Stale:
    """Return the row of a name; ``names`` are all names, sorted."""
    below = names[bisect_left(names, f"{name}/") : bisect_left(names, f"{name}0")]  # "0" follows "/"
    entries = [files[other] for other in (name, *below) if other in files and not other.endswith("/")]
    return Stale(name, reason, len(entries), sum(entry.size for entry in entries))
