"""Pure: how far each run of a sweep is, from the names and times of the files in the sweep's folder."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.plan.runs import PlannedRun
from orchestrator.store.ends import CHECKPOINTS, ENDS
from orchestrator.store.inventory import Entry
from orchestrator.upkeep.plan import Plan

ERROR = ".error.txt"
STATES = ("committed", "diverged", "stopped", "dropped", "failed", "at work", "left")
"""What a run can be, in the order of the columns. A dropped run is a run that the search did not ask for."""


@dataclass(frozen=True)
class Standing:
    """Where a run stands: its ``state``, and of a run that has begun and not ended the newest ``attempt``.

    ``checkpoint`` is the step of the newest checkpoint of all attempts, ``sign`` when the newest attempt last wrote
    anything, in seconds since 1970. Both are 0 without such a file.
    """

    run: PlannedRun
    state: str
    attempt: int = 0
    checkpoint: int = 0
    sign: float = 0.0


@dataclass
class _Files:
    """What the folder of one run holds: its ends, the time of its error, and by attempt the last sign."""

    ends: set[str] = field(default_factory=set)
    failed: float | None = None
    signs: dict[int, float] = field(default_factory=dict)
    checkpoint: int = 0


def standings(
    plan: Plan, files: Mapping[str, Entry], *, since: float | None, dropped: Iterable[str] = ()
) -> list[Standing]:
    """Return the standing of each run of the plan.

    ``files`` are the entries of the sweep's folder. ``since`` is when the driver took the lease (0 if that is not
    known), None if no driver holds it: then no run is at work. ``dropped`` are the keys of the runs that the search
    did not ask for when the sweep last ended.
    """
    of_run = _by_run(files)
    not_asked = frozenset(dropped)
    return [_standing(run, of_run.get(run.key, _Files()), since, run.key in not_asked) for run in plan.runs]


def strangers(plan: Plan, files: Mapping[str, Entry]) -> int:
    """Return how many runs in the folder are not in the plan."""
    return len(_by_run(files).keys() - plan.keys.keys())


def cells(standings: Sequence[Standing]) -> dict[tuple[str, str], Counter[str]]:
    """Return how many runs are in each state, by task and label of the method, in the recipe's order."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for standing in standings:
        spec = standing.run.spec
        counts[spec.task.name, spec.method.label][standing.state] += 1
    return dict(counts)


def skipped(folder: str, beside: Iterable[str]) -> bool:
    """Return whether a folder need not be listed to know the standing of runs: most of what a large sweep holds."""
    first, *rest = folder.rstrip("/").split("/")
    if first != "runs":
        return True
    return len(rest) > 1 and not frozenset(ENDS.values()).isdisjoint(beside)  # an attempt of a run that has ended


def _standing(run: PlannedRun, files: _Files, since: float | None, dropped: bool) -> Standing:
    end = next((end for end, name in ENDS.items() if name in files.ends), None)
    if end or dropped:
        return Standing(run, end or "dropped")
    attempt = max(files.signs, default=0)
    sign = files.signs.get(attempt, 0.0)
    again = files.failed is None or sign > files.failed
    at_work = attempt > 0 and since is not None and sign >= since and again
    state = "at work" if at_work else "failed" if files.failed is not None else "left"
    return Standing(run, state, attempt, files.checkpoint, sign)


def _by_run(files: Mapping[str, Entry]) -> dict[str, _Files]:
    of_run: dict[str, _Files] = defaultdict(_Files)
    for name, entry in files.items():
        first, _, rest = name.partition("/")
        if first != "runs" or not rest:
            continue
        if "/" not in rest:
            if rest.endswith(ERROR):
                of_run[rest.removesuffix(ERROR)].failed = entry.modified
            continue
        key, _, file = rest.partition("/")
        _note(of_run[key], file, entry.modified)
    return of_run


def _note(run: _Files, file: str, modified: float) -> None:
    """Note a file of a run: an end, or a sign of an attempt."""
    parts = file.split("/")
    number = parts[0].removeprefix("attempt-")
    if len(parts) == 1:
        run.ends.add(file)
    elif number != parts[0] and number.isdigit():
        run.signs[int(number)] = max(run.signs.get(int(number), 0.0), modified)
        if parts[1] == CHECKPOINTS and parts[-1] == "CHECKPOINT.json" and parts[2].isdigit():
            run.checkpoint = max(run.checkpoint, int(parts[2]))
