"""Pure: what a sweep would be: its runs and packs, and roughly its memory, arithmetic, time and cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.batches import count_steps
from orchestrator.budget import trained_parameters, within_budget
from orchestrator.costs import TFLOPS_CPU, TFLOPS_GPU, Costs, Duration, Memory, Rate, Work
from orchestrator.halving import kept_together
from orchestrator.plan import PlannedRun, expand, pack_runs
from orchestrator.seeds import drawn, independent, is_tested
from orchestrator.shapes import ModelShape
from orchestrator.spec import MethodSpec, SweepSpec, targets_of
from orchestrator.task_sizes import TaskRows, rows_of
from orchestrator.widths import assumed_width

# By the standard deviation of a paired difference of accuracies, as a share: seeds_needed(0.01, sd), for one point.
SPREADS = {0.01: 10, 0.02: 34}
# smallest_detectable_difference(n, 1.0) for n = 2, 3, ...: scipy, which computes it, takes longer to load than a plan.
EFFECTS = (11.549888, 3.264044, 2.127949, 1.681997, 1.434545, 1.272567, 1.156035, 1.066973, 0.996001)


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
class Detectable:
    """The smallest difference that the seeds detect with power 0.8, both as shares; None for a single seed.

    ``seeds_for_one_point`` is how many paired seeds detect a difference of 0.01.
    """

    sd: float
    difference: float | None
    seeds_for_one_point: int


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
        sweep = within_budget(sweep, lambda targets: shape.targets(targets_of(targets)))
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


def _detectable(seeds: int) -> list[Detectable]:
    return [
        Detectable(sd, smallest_difference(seeds, sd) if seeds > 1 else None, enough) for sd, enough in SPREADS.items()
    ]


def smallest_difference(seeds: int, sd: float) -> float:
    """Return what `smallest_detectable_difference` does, from a table for up to ten seeds."""
    if seeds - 2 < len(EFFECTS):
        return sd * EFFECTS[seeds - 2]
    from orchestrator.intervals import smallest_detectable_difference

    return smallest_detectable_difference(seeds, sd)


def as_json(found: Estimate) -> dict[str, Any]:
    """Return the estimate for scripts: keys as the fields are called, plain values."""
    return {**asdict(found), "parameters": found.shape.parameters() if found.shape else None}
