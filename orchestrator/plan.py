"""Pure: a sweep into runs, runs into packs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.spec import RunSpec, SweepSpec

DEFAULT_PACK = 8  # a lane costs least at 4 to 8 lanes of short rows; a measured cost model will choose


@dataclass(frozen=True)
class PlannedRun:
    """A run with its key, which also names its folder."""

    key: str
    spec: RunSpec


@dataclass(frozen=True)
class Pack:
    """Runs that train together as lanes over one base; ``base_tasks`` are those it scores the base on."""

    name: str
    runs: tuple[PlannedRun, ...]
    base_tasks: tuple[str, ...]


def expand(sweep: SweepSpec) -> list[RunSpec]:
    """Return every run of the sweep: task x method x rate x seed, in the recipe's order."""
    return [
        RunSpec(
            task=task,
            method=method,
            seed=seed,
            model=sweep.model.model_copy(update={"dtype": sweep.dtype}),
            data=sweep.data,
            optim=sweep.optim.model_copy(update={"lr": lr}),
        )
        for task in sweep.tasks
        for method in sweep.methods
        for lr in sweep.optim.rates
        for seed in sweep.seeds
    ]


def keyed(runs: Sequence[RunSpec], base: str, data: Mapping[str, str]) -> list[PlannedRun]:
    """Return the runs with their keys; ``base`` and ``data[task]`` are fingerprints."""
    return [PlannedRun(run.key(base, data[run.task.name]), run) for run in runs]


def pack_runs(
    runs: Sequence[PlannedRun], *, width: int, concurrent: int, base_tasks: Sequence[str], attempt: int = 1
) -> list[Pack]:
    """Return packs of at most ``width`` runs that share their targets, and enough packs to keep all trainers busy.

    The runs of a task stay together (their rows have the same lengths), then those of a method (their adapters are
    stacked). Sizes differ by one at most. The first pack with a task scores the base on it.
    """
    unscored = list(base_tasks)
    packs: list[Pack] = []
    for targets in dict.fromkeys(run.spec.method.targets for run in runs):
        group = [run for run in runs if run.spec.method.targets == targets]
        for members in _shares(group, width, concurrent):
            tasks = {run.spec.task.name for run in members}
            mine = tuple(task for task in unscored if task in tasks)
            unscored = [task for task in unscored if task not in mine]
            packs.append(Pack(f"a{attempt}-p{len(packs):04d}", tuple(members), mine))
    return packs


def pack_width(wanted: int | str) -> int:
    """Return how many runs a pack holds at most."""
    return DEFAULT_PACK if wanted == "auto" else int(wanted)


def _shares(runs: Sequence[PlannedRun], width: int, concurrent: int) -> list[list[PlannedRun]]:
    """Cut the runs into equal shares, a multiple of ``concurrent`` where there are that many runs."""
    count = math.ceil(len(runs) / width)
    count = min(len(runs), math.ceil(count / concurrent) * concurrent)
    ends = [len(runs) * (index + 1) // count for index in range(count)]
    return [list(runs[begin:end]) for begin, end in zip([0, *ends], ends, strict=False)]
