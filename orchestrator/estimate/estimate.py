"""Pure: what a sweep would be: its runs and packs, and roughly its memory, arithmetic, time and cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.data.batches import count_steps
from orchestrator.estimate.costs import TFLOPS_CPU, TFLOPS_GPU, Costs, Duration, Memory, Rate, Work
from orchestrator.estimate.model_shapes import ModelShape
from orchestrator.estimate.power import Detectable, _detectable, independent, is_tested
from orchestrator.estimate.task_sizes import TaskRows, rows_of
from orchestrator.plan.packs import pack_runs
from orchestrator.plan.runs import PlannedRun, expand
from orchestrator.plan.widths import assumed_width
from orchestrator.recipe.equal_parameters import trained_parameters, with_equal_parameters
from orchestrator.recipe.sections import MethodSpec
from orchestrator.recipe.seeds import drawn
from orchestrator.recipe.spec import SweepSpec
from orchestrator.recipe.targets import targets_of
from orchestrator.search.halving import kept_together


@dataclass(frozen=True)
class TaskPlan:
    """What a run of one task meets at most."""

    name: str
    rows: TaskRows
    steps: int


@dataclass(frozen=True)
class MethodPlan:
    """A method of the sweep and the parameters that a run of it trains; None where the shape is unknown.

    ``control`` says of a method that ``controls: matched`` has added what it shares, and without what.
    """

    label: str
    name: str
    targets: str
    rank: int
    control: str | None
    trainable_parameters: int | None


@dataclass(frozen=True)
class Estimate:
    """All that `plan` says; what needs the model's shape is None where that is unknown."""

    name: str
    base: str
    shape: ModelShape | None
    shape_from: str
    runs: int
    rates: int
    seeds: int
    search: str
    runs_at_most: int
    independent_seeds: int
    tested: bool
    budget: str
    tasks: list[TaskPlan]
    methods: list[MethodPlan]
    packs: int
    pack_width: int
    pack_width_assumed: bool
    largest_pack: int
    trainers: int
    workers: int
    rate: Rate
    memory: Memory | None
    work: Work | None
    work_at_most: Work | None
    duration: Duration | None
    duration_at_most: Duration | None
    detectable: list[Detectable]


def estimate(
    sweep: SweepSpec,
    shape: ModelShape | None,
    shape_from: str,
    *,
    tflops: float | None = None,
    price: float | None = None,
) -> Estimate:
    """Return the estimate of a sweep on a base of ``shape``; InputError for targets or ranks that do not fit it."""
    if shape is not None:
        sweep = with_equal_parameters(sweep, lambda targets: shape.targets(targets_of(targets)))
    cluster = sweep.cluster
    rate = Rate(tflops or (TFLOPS_GPU if cluster.gpus_per_worker else TFLOPS_CPU), tflops is not None, price)
    trainers = 1 if cluster.max_concurrent == "auto" or cluster.kind == "local" else int(cluster.max_concurrent)
    runs = [PlannedRun(str(index), run) for index, run in enumerate(expand(sweep))]
    methods = [_method(method, shape) for method in sweep.methods]
    tasks = [_task(sweep, index) for index in range(len(sweep.tasks))]
    widths = {task.name: _width(sweep, task) for task in tasks}
    together = kept_together(sweep.search)
    packs = pack_runs(runs, widths=widths, concurrent=trainers, base_tasks=list(widths), field_of=together)
    trained = {method.label: method.trainable_parameters or 0 for method in methods}
    costs = Costs(sweep, shape, {task.name: task.rows for task in tasks}, trained) if shape else None
    return Estimate(
        name=sweep.name,
        base=sweep.model.source,
        shape=shape,
        shape_from=shape_from,
        runs=len(runs),
        rates=len(sweep.optim.rates),
        seeds=len(drawn(sweep.seeds)),
        independent_seeds=independent(sweep.seeds),
        tested=is_tested(sweep.seeds),
        search=sweep.search.kind,
        runs_at_most=sweep.runs_at_most,
        budget=sweep.budget,
        tasks=tasks,
        methods=methods,
        packs=len(packs),
        pack_width=max(widths.values()),
        pack_width_assumed=cluster.pack == "auto",
        largest_pack=max(len(pack.runs) for pack in packs),
        trainers=min(trainers, len(packs)),
        workers=cluster.workers,
        rate=rate,
        memory=costs.memory(packs) if costs else None,
        work=costs.total(full=False) if costs else None,
        work_at_most=costs.total(full=True) if costs else None,
        duration=costs.duration(packs, trainers, rate, full=False) if costs else None,
        duration_at_most=costs.duration(packs, trainers, rate, full=True) if costs else None,
        detectable=_detectable(independent(sweep.seeds) if is_tested(sweep.seeds) else 1),
    )


def _task(sweep: SweepSpec, index: int) -> TaskPlan:
    rows = rows_of(sweep.tasks[index], sweep.data)
    return TaskPlan(
        sweep.tasks[index].name, rows, count_steps(rows.train, sweep.optim.global_batch, sweep.optim.epochs)
    )


def _width(sweep: SweepSpec, task: TaskPlan) -> int:
    """Return the recipe's width; where it says auto, the sweep measures it, and here it is assumed."""
    if sweep.cluster.pack != "auto":
        return int(sweep.cluster.pack)
    return assumed_width(sweep.optim.micro_batch * (task.rows.prompt + task.rows.answer))


def _method(method: MethodSpec, shape: ModelShape | None) -> MethodPlan:
    """Count the trained parameters as the method itself declares them, layer by layer."""
    count = None if shape is None else trained_parameters(method, shape.targets(targets_of(method.targets)))
    rank = int(method.settings["rank"])
    return MethodPlan(method.label, method.name, method.targets, rank, method.control, count)


def as_json(found: Estimate) -> dict[str, Any]:
    """Return the estimate for scripts: keys as the fields are called, plain values."""
    return {**asdict(found), "parameters": found.shape.parameters() if found.shape else None}
