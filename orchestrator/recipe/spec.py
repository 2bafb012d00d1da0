"""A whole recipe after reading, and the checks that concern several of its sections."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from orchestrator.recipe.cluster_section import ClusterSpec
from orchestrator.recipe.frozen import Frozen
from orchestrator.recipe.nightly_section import NightlySpec
from orchestrator.recipe.search import Grid, Racing, Search, Tpe
from orchestrator.recipe.sections import (
    NAME,
    DataSpec,
    EngineSpec,
    MethodSpec,
    ModelSpec,
    OptimSpec,
    TaskSpec,
    TrackingSpec,
)
from orchestrator.recipe.seeds import SeedAxes, Seeds, distinct, drawn

MAX_RUNS = 200_000  # planned in some seconds; more are a slip in an axis of seeds


class SweepSpec(Frozen):
    """A recipe after reading: every task x method x rate x seed is a run.

    ``renewed`` is by label of a method the night on which its runs are trained anew; the night is in their run keys.
    """

    name: Annotated[str, Field(pattern=NAME)]
    model: ModelSpec = ModelSpec()
    tasks: Annotated[list[TaskSpec], Field(min_length=1)]
    methods: Annotated[list[MethodSpec], Field(min_length=1)]
    seeds: Seeds
    controls: Literal["none", "matched"] = "none"  # "matched": the recipe's reader has added them to ``methods``
    budget: Literal["none", "parameters"] = "none"  # "parameters": ranks are chosen where the base's shape is known
    data: DataSpec = DataSpec()
    optim: OptimSpec = OptimSpec()
    engine: EngineSpec = EngineSpec()
    cluster: ClusterSpec = ClusterSpec()
    search: Search = Grid()
    tracking: TrackingSpec = TrackingSpec()
    storage: str = "./sweeps"
    champions: bool = True
    budget_usd: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    nightly: NightlySpec = NightlySpec()
    renewed: dict[str, Annotated[str, Field(pattern=NAME)]] = {}  # noqa: RUF012 - pydantic copies it

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: list[int] | SeedAxes) -> list[int] | SeedAxes:
        return seeds if isinstance(seeds, SeedAxes) else distinct(seeds)

    @field_validator("tasks")
    @classmethod
    def _each_task_once(cls, tasks: list[TaskSpec]) -> list[TaskSpec]:
        repeated = [name for name, times in Counter(task.name for task in tasks).items() if times > 1]
        if repeated:
            raise ValueError(f"task {repeated[0]!r} stands here twice: give each a name of its own.")
        return tasks

    @field_validator("methods")
    @classmethod
    def _each_method_once(cls, methods: list[MethodSpec]) -> list[MethodSpec]:
        labels: dict[str, str] = {}
        for method in methods:
            same = labels.get(method.decides())
            if same is not None:
                raise ValueError(f"{method.label!r} has the same settings as {same!r}: both would be the same runs.")
            labels[method.decides()] = method.label
        return methods

    @model_validator(mode="after")
    def _batches_fit(self) -> Self:
        workers, micro, total = self.cluster.workers, self.optim.micro_batch, self.optim.global_batch
        if total % (workers * micro):
            raise ValueError(
                f"global_batch={total} is not a multiple of workers * micro_batch = "
                f"{workers} * {micro} = {workers * micro}. Give a multiple."
            )
        if self.engine.kind == "plain" and workers > 1:
            raise ValueError(
                f"engine.kind=plain trains in one process, but cluster.workers={workers}: use zero or auto."
            )
        return self

    @model_validator(mode="after")
    def _budget_has_a_price(self) -> Self:
        if self.budget_usd is not None and self.cluster.price_per_hour is None and self.cluster.gpu is None:
            raise ValueError(
                f"budget_usd={self.budget_usd:g} needs the price of a worker's hour: give cluster.price_per_hour, "
                "or cluster.gpu and cluster.spot, whose price is in the price table (docs/plan.md)."
            )
        return self

    @model_validator(mode="after")
    def _not_too_many_runs(self) -> Self:
        seeds = self.seeds
        drawn_seeds = len(seeds.init) * len(seeds.data) if isinstance(seeds, SeedAxes) else len(seeds)
        runs = len(self.tasks) * self.settings * drawn_seeds
        if runs > MAX_RUNS:
            raise ValueError(
                f"{len(self.tasks):,} tasks x {self.settings:,} settings (methods x rates) x {drawn_seeds:,} seeds are "
                f"{runs:,} runs, more than {MAX_RUNS:,}: make several sweeps of them."
            )
        return self

    @model_validator(mode="after")
    def _search_has_a_choice(self) -> Self:
        search, settings = self.search, self.settings
        if settings < 2 and not isinstance(search, Grid):
            raise ValueError(
                f"search.kind={search.kind} needs two settings (methods x rates) or more: give them, or grid."
            )
        match search:
            case Racing():
                self._check_seeds(search)
            case Tpe() if search.trials > settings:
                raise ValueError(
                    f"search.trials={search.trials} is more than the {settings} settings (methods x rates) of a task: "
                    f"at most {settings}, which is what search.kind=grid trains."
                )
        return self

    def _check_seeds(self, race: Racing) -> None:
        """Refuse a race over pairs of seeds, and a race that has no seed left after its first look."""
        if isinstance(self.seeds, SeedAxes):
            raise ValueError("search.kind=racing compares independent seeds; pairs of two axes share them: list seeds.")
        if race.first >= len(self.seeds):
            raise ValueError(
                f"search.first={race.first} leaves nothing to save of {len(self.seeds)} seeds: give more seeds, a "
                "smaller search.first (2 or more), or search.kind=grid."
            )

    @property
    def settings(self) -> int:
        """How many settings a task has: the number of methods times the number of rates."""
        return len(self.methods) * len(self.optim.rates)

    @property
    def runs_at_most(self) -> int:
        """How many runs are trained at most: those of the grid, or with TPE those of ``trials`` settings per task."""
        settings = self.search.trials if isinstance(self.search, Tpe) else self.settings
        return len(self.tasks) * settings * len(drawn(self.seeds))

    @property
    def dtype(self) -> Literal["float32", "bfloat16"]:
        """The type to compute in: "auto" is bfloat16 on GPUs and float32 on CPUs, most of which are slow in bfloat16.

        It follows from the recipe, not from the machine, because it decides results and so is part of the run key.
        """
        if self.model.dtype == "auto":
            return "bfloat16" if self.cluster.gpus_per_worker else "float32"
        return self.model.dtype

    @property
    def trained_by(self) -> EngineSpec:
        """The engine with its kind decided."""
        return self.engine.resolved(self.cluster.workers)

    @property
    def experiment(self) -> str:
        """The MLflow experiment."""
        return self.tracking.experiment or self.name


WORDS = {name: get_args(SweepSpec.model_fields[name].annotation) for name in ("controls", "budget")}
"""The words that these keys of a recipe may hold."""
