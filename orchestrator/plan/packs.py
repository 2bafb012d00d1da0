"""Pure: which runs train together as a pack, and in which order packs are trained."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

from orchestrator.plan.runs import PlannedRun

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pack:
    """Runs that train together as lanes over one base; the pack also scores the base, on the ``base_tasks``."""

    name: str
    runs: tuple[PlannedRun, ...]
    base_tasks: tuple[str, ...]


def pack_runs(
    runs: Sequence[PlannedRun],
    *,
    widths: Mapping[str, int],
    concurrent: int,
    base_tasks: Sequence[str],
    work: Mapping[str, float] | None = None,
    attempt: int = 1,
    field_of: Callable[[PlannedRun], Hashable] | None = None,
) -> list[Pack]:
    """Return packs of at most ``widths[task]`` runs that share their targets, the longest first.

    A task with enough runs fills packs of its own, because its rows have similar lengths. Tasks with fewer runs than
    their width, and of equal width, are put together. There are as many packs as keep ``concurrent`` trainers busy. The
    sizes of packs with the same tasks differ by one at most. ``work[task]`` is the cost of one run of the task, in any
    unit. The first pack with a run of a task scores the base on the task.

    Runs with the same ``field_of`` stay in one pack, even if a trainer is then idle. A field that is wider than a pack
    is cut into as few parts as it needs, and each part is a pack of its own.
    """
    groups: dict[tuple[str, int, str], list[PlannedRun]] = {}
    there = Counter((run.spec.method.targets, run.spec.task.name) for run in runs)
    for run in runs:
        targets, task = run.spec.method.targets, run.spec.task.name
        own = task if there[targets, task] >= widths[task] else ""
        groups.setdefault((targets, widths[task], own), []).append(run)
    units = [_units(group, width, field_of) for (_, width, _), group in groups.items()]
    # How many units fit into a pack is computed from the largest unit. If a field had to be cut, its parts are each
    # larger than half a pack, so only one fits.
    sizes = [(len(group), width // max(map(len, group))) for (_, width, _), group in zip(groups, units, strict=True)]
    cut = chain.from_iterable(map(_shares, units, _counts(sizes, concurrent)))
    shares = [list(chain.from_iterable(share)) for share in cut]
    each = dict.fromkeys(widths, 1.0) if work is None else work
    shares.sort(key=lambda share: -sum(each[run.spec.task.name] for run in share))
    return named(shares, base_tasks, attempt)


def _units(
    runs: Sequence[PlannedRun], width: int, field_of: Callable[[PlannedRun], Hashable] | None
) -> list[list[PlannedRun]]:
    """Return the units of a group, which are never cut: single runs; or fields, or equal parts of too wide fields."""
    if field_of is None:
        return [[run] for run in runs]
    fields: dict[Hashable, list[PlannedRun]] = {}
    for run in runs:
        fields.setdefault(field_of(run), []).append(run)
    return [part for field in fields.values() for part in _shares(field, math.ceil(len(field) / width))]


def _counts(groups: Sequence[tuple[int, int]], concurrent: int) -> list[int]:
    """Return the number of packs of each group, given as (its number of units, how many units fit into a pack).

    First each group is cut into as few packs as possible. Then the group whose packs hold the most units is cut into
    one pack more, until all trainers are busy to the end.
    """
    counts = [math.ceil(units / most) for units, most in groups]
    while sum(counts) % concurrent and sum(counts) < sum(units for units, _ in groups):
        largest = max(range(len(groups)), key=lambda index: groups[index][0] / counts[index])
        counts[largest] += 1
    return counts


def _shares(items: Sequence[T], count: int) -> list[list[T]]:
    """Return the items in ``count`` parts whose sizes differ by one at most."""
    ends = [len(items) * (index + 1) // count for index in range(count)]
    return [list(items[begin:end]) for begin, end in zip([0, *ends], ends, strict=False)]


def are_packs(recorded: Any) -> bool:
    """Return whether ``recorded``, the content of a file, is a list of packs of run keys, each key once."""
    if not isinstance(recorded, list) or not all(isinstance(pack, list) and pack for pack in recorded):
        return False
    keys = [key for pack in recorded for key in pack]
    return all(isinstance(key, str) for key in keys) and len(set(keys)) == len(keys)


def packs_again(
    recorded: Sequence[Sequence[str]], missing: Sequence[PlannedRun], ended: Mapping[str, PlannedRun]
) -> list[list[PlannedRun]]:
    """Return the packs of an earlier start that go on as they were; ``recorded`` are the run keys of each.

    Such a pack has a run to train, its runs have the same targets, and its other runs have ended: their lanes stay
    empty, so that the numbers of the lanes that train are those of an undisturbed sweep to the last bit. ``missing``
    are the runs to train, ``ended`` the runs that have ended, by key.
    """
    there = {run.key: run for run in missing}
    known = {**ended, **there}
    return [
        [known[key] for key in keys]
        for keys in recorded
        if any(key in there for key in keys)
        and all(key in known for key in keys)
        and len({known[key].spec.method.targets for key in keys}) == 1
    ]


def named(shares: Sequence[Sequence[PlannedRun]], base_tasks: Sequence[str], attempt: int) -> list[Pack]:
    """Return the shares as packs; the first pack with a run of a task of ``base_tasks`` scores the base on it."""
    unscored = list(base_tasks)
    packs: list[Pack] = []
    for share in shares:
        tasks = {run.spec.task.name for run in share} if unscored else set()
        mine = tuple(task for task in unscored if task in tasks)
        unscored = [task for task in unscored if task not in mine]
        packs.append(Pack(f"a{attempt}-p{len(packs):04d}", tuple(share), mine))
    return packs
