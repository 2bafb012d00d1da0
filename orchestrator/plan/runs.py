"""A sweep as single runs: everything that decides the result of a run, and the key that is the hash of it (ADR 2)."""

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
"""The format of results, part of every run's key: raised where the same run comes out otherwise than before (ADR 2)."""


class RunSpec(Frozen):
    """One adapter to train: everything that decides its result, and nothing else (ADR 2).

    Engine, workers and packing are not here: tests hold their results equal to rounding, so changing them must not
    train a finished run again. ``seed`` names the run among its likes; where start and data have seeds of their own,
    ``apart`` has them and ``seed`` is their label.
    """

    task: TaskSpec
    method: MethodSpec
    seed: int
    model: ModelSpec
    data: DataSpec
    optim: OptimSpec
    apart: SeedPair | None = None

    @model_validator(mode="after")
    def _seed_names_the_pair(self) -> Self:
        if self.apart is not None and self.seed != self.apart.label:
            raise ValueError(
                f"seed={self.seed} is not the label of init={self.apart.init}, data={self.apart.data}, which is "
                f"{self.apart.label}: change all three, or take apart=None."
            )
        return self

    @property
    def init_seed(self) -> int:
        """What draws the adapter's start and its dropout."""
        return self.seed if self.apart is None else self.apart.init

    @property
    def data_seed(self) -> int:
        """What orders the rows."""
        return self.seed if self.apart is None else self.apart.data

    @property
    def seeds(self) -> dict[str, int]:
        """The seeds as a row of results has them."""
        return {"seed": self.seed, "init_seed": self.init_seed, "data_seed": self.data_seed}

    @property
    def lr(self) -> float:
        """The peak learning rate: a run has one."""
        (rate,) = self.optim.rates
        return rate

    def key(self, base_fingerprint: str, data_fingerprint: str) -> str:
        """Return the run key: 16 hexadecimal digits over this spec and the content of base and data.

        Places (paths, mirror) and labels do not count; what they hold is in the fingerprints.
        """
        return self.key_by_seed(base_fingerprint, data_fingerprint)(self)

    def key_by_seed(self, base_fingerprint: str, data_fingerprint: str) -> Callable[[RunSpec], str]:
        """Return the key of runs that differ from this one in their seeds: all else is written out once, sorted."""
        before = {
            "base": base_fingerprint,
            "data": data_fingerprint,
            "dtype": self.model.dtype,
            "format": FORMAT,
            "lr": self.lr,
            "method": self.method.name,
            "optim": self.optim.model_dump(exclude={"lr", "micro_batch"}),
        }
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
    """Return every run of the sweep: task x method x rate x seed, in the recipe's order; they share their parts."""
    model = sweep.model.model_copy(update={"dtype": sweep.dtype})
    optims = [sweep.optim.model_copy(update={"lr": lr}) for lr in sweep.optim.rates]
    return [
        RunSpec(task=task, method=method, seed=seed, model=model, data=sweep.data, optim=optim, apart=apart)
        for task in sweep.tasks
        for method in sweep.methods
        for optim in optims
        for seed, apart in drawn(sweep.seeds)
    ]


def keyed(runs: Sequence[RunSpec], base: str, data: Mapping[str, str]) -> list[PlannedRun]:
    """Return the runs with their keys; ``base`` and ``data[task]`` are fingerprints."""
    planned: list[PlannedRun] = []
    for _, group in groupby(runs, key=_parts):
        alike = list(group)
        key = alike[0].key_by_seed(base, data[alike[0].task.name])
        planned += [PlannedRun(key(run), run) for run in alike]
    return planned


def _parts(run: RunSpec) -> tuple[int, ...]:
    """Return which objects the run is made of: where they are the same ones, runs differ in their seeds alone."""
    return id(run.task), id(run.method), id(run.model), id(run.optim)
