"""A sweep as single runs: everything that decides the result of a run, and the run key, which is its hash (ADR 2)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Self

from pydantic import model_validator

from orchestrator.recipe.frozen import Frozen
from orchestrator.recipe.sections import DataSpec, MethodSpec, ModelSpec, OptimSpec, TaskSpec
from orchestrator.recipe.seeds import SeedPair, drawn
from orchestrator.recipe.spec import SweepSpec

FORMAT = 2
"""The format of results, part of every run key: raised when a new version changes the results of runs (ADR 2)."""


class RunSpec(Frozen):
    """One adapter to train: everything that decides its result, and nothing else (ADR 2).

    Engine, workers and packing are not here. Tests hold the results under all of them equal up to rounding, so changing
    them must not train a finished run again. ``seed`` tells apart the runs of one cell. Where start and data have seeds
    of their own, ``seed_pair`` holds the two seeds and ``seed`` is their label. ``night`` tells apart runs that are
    trained anew although nothing else differs; it is in the key only if it is set.
    """

    task: TaskSpec
    method: MethodSpec
    seed: int
    model: ModelSpec
    data: DataSpec
    optim: OptimSpec
    seed_pair: SeedPair | None = None
    night: str | None = None

    @model_validator(mode="after")
    def _seed_names_the_pair(self) -> Self:
        pair = self.seed_pair
        if pair is not None and self.seed != pair.label:
            raise ValueError(
                f"seed={self.seed} is not the label of init={pair.init}, data={pair.data}, which is {pair.label}: "
                "change all three, or take seed_pair=None."
            )
        return self

    @property
    def init_seed(self) -> int:
        """The seed that draws the adapter's start and its dropout."""
        return self.seed if self.seed_pair is None else self.seed_pair.init

    @property
    def data_seed(self) -> int:
        """The seed that draws the order of the rows."""
        return self.seed if self.seed_pair is None else self.seed_pair.data

    @property
    def seeds(self) -> dict[str, int]:
        """The seeds as a row of results has them."""
        return {"seed": self.seed, "init_seed": self.init_seed, "data_seed": self.data_seed}

    @property
    def lr(self) -> float:
        """The peak learning rate; a run has exactly one rate."""
        (rate,) = self.optim.rates
        return rate

    def key(self, base_fingerprint: str, data_fingerprint: str) -> str:
        """Return the run key: 16 hexadecimal digits over this spec and the content of base and data.

        Paths, the mirror and labels do not count; the content of the paths is in the fingerprints.
        """
        return self.key_by_seed(base_fingerprint, data_fingerprint)(self)

    def key_by_seed(self, base_fingerprint: str, data_fingerprint: str) -> Callable[[RunSpec], str]:
        """Return a function that gives the run key of runs which differ from this run in their seeds alone.

        All else that decides a key is written out once, here, because a sweep has many seeds.
        """
        before = {
            "base": base_fingerprint,
            "data": data_fingerprint,
            "dtype": self.model.dtype,
            "format": FORMAT,
            "lr": self.lr,
            "method": self.method.name,
            "optim": self.optim.model_dump(exclude={"lr", "micro_batch"}),
        }
        if self.night is not None:
            before["night"] = self.night
        after = {
            "settings": self.method.settings,
            "targets": self.method.patterns,
            "task": self.task.name,
        }
        head, tail = (json.dumps(part, sort_keys=True) for part in (before, after))
        head, tail = head.removesuffix("}"), tail.removeprefix("{")

        def key(run: RunSpec) -> str:
            seed = run.seed if run.init_seed == run.data_seed else [run.init_seed, run.data_seed]
            return hashlib.sha256(f'{head}, "seed": {seed}, {tail}'.encode()).hexdigest()[:16]

        return key


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run with its key, which also names its folder."""

    key: str
    spec: RunSpec


def expand(sweep: SweepSpec) -> list[RunSpec]:
    """Return every run of the sweep: task x method x rate x seed, in the recipe's order.

    Runs that differ in their seeds alone share their parts (task, method, ...), so that `keyed` writes these out once.
    """
    model = sweep.model.model_copy(update={"dtype": sweep.dtype})
    optims = [sweep.optim.model_copy(update={"lr": lr}) for lr in sweep.optim.rates]
    return [
        RunSpec(
            task=task,
            method=method,
            seed=seed,
            model=model,
            data=sweep.data,
            optim=optim,
            seed_pair=pair,
            night=sweep.renewed.get(method.label),
        )
        for task in sweep.tasks
        for method in sweep.methods
        for optim in optims
        for seed, pair in drawn(sweep.seeds)
    ]


def keyed(runs: Sequence[RunSpec], base: str, data: Mapping[str, str]) -> list[PlannedRun]:
    """Return the runs with their keys; ``base`` and ``data[task]`` are fingerprints."""
    planned: list[PlannedRun] = []
    for _, group in groupby(runs, key=_parts):
        alike = list(group)
        key = alike[0].key_by_seed(base, data[alike[0].task.name])
        planned += [PlannedRun(key(run), run) for run in alike]
    return planned


def _parts(run: RunSpec) -> tuple[int | str | None, ...]:
    """Return which objects the run is made of; runs that are made of the same objects differ in their seeds alone."""
    return id(run.task), id(run.method), id(run.model), id(run.optim), run.night
