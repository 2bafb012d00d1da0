"""What a sweep's folder holds already: the planned runs that have ended there, and how fast they were."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.files import read_json
from orchestrator.plan.runs import PlannedRun, RunSpec, keyed
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.ends import ENDS, end_of
from orchestrator.store.sweep_folder import SweepFolder

SAMPLE = 200  # manifests that are read, spread over the ended runs: the speed of a large sweep needs no more
SOURCE = ("name", "revision", "path")  # keys of ``model`` that name the base
PLACES = ("mirror", "bad_rows")  # keys of ``data`` that name where rows are from, and not which


@dataclass(frozen=True)
class Ended:
    """The planned runs that have ended in the sweep's folder.

    ``runs`` are all planned runs, ``left`` the runs that have not ended. Of the ended runs that were ``sampled``,
    ``seconds`` is the time that their optimizer steps took, of one worker each, as their rows say; ``metered`` are the
    worker-seconds that the sweep has metered (`driver.spending`), 0 if it has no budget. ``note`` says what was looked
    at; "" where no sweep lies.
    """

    runs: list[PlannedRun]
    left: list[PlannedRun]
    sampled: tuple[RunSpec, ...] = ()
    seconds: float = 0.0
    metered: float = 0.0
    note: str = ""

    @property
    def count(self) -> int:
        """How many planned runs have ended."""
        return len(self.runs) - len(self.left)

    @property
    def worker_seconds(self) -> float:
        """The worker-seconds that the ended runs have taken: metered, or by the rows, scaled up from the sample."""
        by_rows = self.seconds / len(self.sampled) * self.count if self.sampled else 0.0
        return max(self.metered, by_rows)


def nothing_ended(runs: Sequence[RunSpec]) -> Ended:
    """Return that none of these runs has ended."""
    planned = [PlannedRun(str(index), run) for index, run in enumerate(runs)]
    return Ended(planned, planned)


def look_at_ended(sweep: SweepSpec, runs: Sequence[RunSpec], folder: SweepFolder) -> Ended:
    """Return which of the runs have ended in ``folder``; names and manifests are read, and nothing else.

    The keys need the fingerprints of base and data, which sweep.json has. Where the recipe names another base or other
    rows than sweep.json, no run counts as ended, because the keys of its runs are not known before they are prepared.
    """
    before = read_json(folder.sweep)
    if before is None:
        return nothing_ended(runs)
    if not _is_whole(before):
        empty = nothing_ended(runs)
        return Ended(empty.runs, empty.left, note=f"{folder.sweep} is not what a sweep writes: nothing is taken")
    prints = {task: str(one.get("fingerprint")) for task, one in before["data"].items()}
    known = {task.name for task in sweep.tasks} & prints.keys()
    if not _same_rows(sweep, before["recipe"]) or not known:
        empty = nothing_ended(runs)
        return Ended(empty.runs, empty.left, note=f"{folder.sweep} is of another base or other rows: nothing is taken")
    planned = keyed(runs, str(before.get("base")), {task.name: prints.get(task.name, "") for task in sweep.tasks})
    there = _folders(folder.runs)
    ended = {run.key for run in planned if run.key in there and end_of(folder.run(run.key).path)}
    sampled, seconds = _speed([run for run in planned if run.key in ended], folder, sweep.cluster.workers)
    spent = read_json(folder.spent)
    metered = spent.get("worker_seconds") if isinstance(spent, dict) else None
    return Ended(
        runs=planned,
        left=[run for run in planned if run.key not in ended],
        sampled=sampled,
        seconds=seconds,
        metered=float(metered) if isinstance(metered, (int, float)) else 0.0,
        note=str(folder.path),
    )


def _folders(runs: Path) -> set[str]:
    try:
        return set(os.listdir(runs))
    except FileNotFoundError:
        return set()


def _is_whole(before: Any) -> bool:
    """Return whether the parts of a sweep.json that are read here have the form in which a sweep writes them."""
    recipe, data = (before.get(name) if isinstance(before, dict) else None for name in ("recipe", "data"))
    if not isinstance(recipe, dict) or not isinstance(data, dict):
        return False
    tasks = recipe.get("tasks", [])
    sections = [recipe.get("model", {}), recipe.get("data", {}), *data.values()]
    return isinstance(tasks, list) and all(isinstance(section, dict) for section in [*sections, *tasks])


def _same_rows(sweep: SweepSpec, before: Mapping[str, Any]) -> bool:
    """Return whether base and rows are those of the recipe ``before``, as far as both recipes show it."""
    now = sweep.model_dump()
    tasks = {task.get("name"): task for task in before.get("tasks", [])}
    same = [_agree(task, tasks.get(task["name"], {})) for task in now["tasks"]]
    same.append(_agree({name: now["model"][name] for name in SOURCE}, before.get("model", {})))
    same.append(
        _agree({name: value for name, value in now["data"].items() if name not in PLACES}, before.get("data", {}))
    )
    return all(same)


def _agree(now: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Return whether the keys that both have are equal: a later version may have more keys."""
    return all(before[name] == value for name, value in now.items() if name in before)


def _speed(ended: Sequence[PlannedRun], folder: SweepFolder, workers: int) -> tuple[tuple[RunSpec, ...], float]:
    """Return the committed runs of a sample, and the worker-seconds of their steps."""
    sampled: list[RunSpec] = []
    seconds = 0.0
    for run in ended[:: max(1, len(ended) // SAMPLE)]:
        manifest = read_json(folder.run(run.key).path / ENDS["committed"])
        row = manifest.get("row") if isinstance(manifest, dict) else None
        took = row.get("train_seconds") if isinstance(row, dict) else None
        if isinstance(took, (int, float)) and took > 0:
            sampled.append(run.spec)
            seconds += took * workers
    return tuple(sampled), seconds
