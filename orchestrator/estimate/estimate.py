"""Pure: the estimate of a sweep: its runs and packs, and roughly its memory, arithmetic, time and price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypedDict

from orchestrator.data.batches import count_steps
from orchestrator.estimate.costs import TFLOPS_CPU, TFLOPS_GPU, Costs, Duration, Rate, Work
from orchestrator.estimate.ended import Ended, look_at_ended, nothing_ended
from orchestrator.estimate.memory import Bytes
from orchestrator.estimate.model_shapes import ModelShape
from orchestrator.estimate.power import Detectable, detectable, independent, is_tested
from orchestrator.estimate.simulate import Simulated, simulate
from orchestrator.estimate.task_sizes import TaskRows, rows_of
from orchestrator.estimate.terms import Machine, Money, Terms, machine_of, money_of
from orchestrator.plan.packs import Pack, pack_runs
from orchestrator.plan.runs import PlannedRun, expand
from orchestrator.plan.widths import assumed_width, measures_widths
from orchestrator.recipe.equal_parameters import trained_parameters, with_equal_parameters
from orchestrator.recipe.sections import MethodSpec, TaskSpec
from orchestrator.recipe.seeds import drawn
from orchestrator.recipe.spec import SweepSpec
from orchestrator.recipe.targets import targets_of
from orchestrator.search.halving import kept_together
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.wording import count

NO_TERMS = Terms()
SHARE_OF_PEAK = 0.4  # of an accelerator's peak that training is taken to reach, as TFLOPS_GPU of an A10G


@dataclass(frozen=True)
class TaskPlan:
    """The largest numbers of rows and of optimizer steps that a run of one task can have."""

    name: str
    rows: TaskRows
    steps: int


@dataclass(frozen=True)
class MethodPlan:
    """A method of the sweep, and the parameters that one run of it trains; None where the base's shape is unknown.

    ``control`` is None, or for a method that ``controls: matched`` has added, says what it shares and what it lacks.
    """

    label: str
    name: str
    targets: str
    rank: int
    control: str | None
    trainable_parameters: int | None


@dataclass(frozen=True)
class Estimate:
    """All that the plan job prints; a field that rests on the shape of the base is None where the shape is unknown.

    ``runs`` are all planned runs, of which ``ended`` have ended in the folder ``ended_in``. Packs, work, time and cost
    are those of the runs that are left.
    """

    name: str
    base: str
    shape: ModelShape | None
    shape_from: str
    runs: int
    ended: int
    ended_in: str
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
    pack_width_measured: bool
    largest_pack: int
    trainers: int
    workers: int
    rate: Rate
    memory: Bytes | None
    machine: Machine
    work: Work | None
    work_at_most: Work | None
    duration: Duration | None
    duration_at_most: Duration | None
    money: Money
    simulation: Simulated | None
    detectable: list[Detectable]


def estimate(
    sweep: SweepSpec,
    shape: ModelShape | None,
    shape_from: str,
    *,
    tflops: float | None = None,
    price: float | None = None,
    terms: Terms = NO_TERMS,
    folder: SweepFolder | None = None,
) -> Estimate:
    """Return the estimate of a sweep on a base of ``shape``; InputError for targets or ranks that do not fit it.

    ``shape_from`` says where the shape is from. ``tflops`` is the speed of one worker in 10^12 operations per second,
    ``price`` the price of an hour of one worker in USD, before that of ``terms``. Runs that have ended in ``folder``
    are left out of packs, work and time.
    """
    if shape is not None:
        sweep = with_equal_parameters(sweep, lambda targets: shape.targets(targets_of(targets)))
    methods = [_method(method, shape) for method in sweep.methods]
    tasks = [_task(task, sweep) for task in sweep.tasks]
    specs = expand(sweep)
    ended = nothing_ended(specs) if folder is None else look_at_ended(sweep, specs, folder)
    widths = {task.name: _width(sweep, task) for task in tasks}
    packs, trainers = _packs(sweep, widths, ended.left)
    costs = None if shape is None else _costs(sweep, shape, tasks, methods)
    rate = _rate(sweep, tflops, price, terms, ended, costs)
    return Estimate(
        name=sweep.name,
        base=sweep.model.source,
        shape=shape,
        shape_from=shape_from,
        runs=len(ended.runs),
        ended=ended.count,
        ended_in=ended.note,
        tasks=tasks,
        methods=methods,
        packs=len(packs),
        pack_width=max(widths.values()),
        pack_width_assumed=sweep.cluster.pack == "auto",
        pack_width_measured=measures_widths(sweep, [task.steps for task in tasks]),
        largest_pack=max((len(pack.runs) for pack in packs), default=0),
        trainers=min(trainers, len(packs)),
        workers=sweep.cluster.workers,
        rate=rate,
        **_grid(sweep),
        **_needs(costs, packs, trainers, rate, terms, ended),
    )


class GridFields(TypedDict):
    """The fields of an `Estimate` that the recipe alone decides."""

    rates: int
    seeds: int
    independent_seeds: int
    tested: bool
    search: str
    runs_at_most: int
    budget: str
    detectable: list[Detectable]


def _grid(sweep: SweepSpec) -> GridFields:
    tested = is_tested(sweep.seeds)
    return GridFields(
        rates=len(sweep.optim.rates),
        seeds=len(drawn(sweep.seeds)),
        independent_seeds=independent(sweep.seeds),
        tested=tested,
        search=sweep.search.kind,
        runs_at_most=sweep.runs_at_most,
        budget=sweep.budget,
        detectable=detectable(independent(sweep.seeds) if tested else 1),
    )


class Needs(TypedDict):
    """What a sweep needs of machines, time and money: the fields of an `Estimate` that rest on the base's shape."""

    memory: Bytes | None
    machine: Machine
    work: Work | None
    work_at_most: Work | None
    duration: Duration | None
    duration_at_most: Duration | None
    money: Money
    simulation: Simulated | None


def _needs(costs: Costs | None, packs: Sequence[Pack], trainers: int, rate: Rate, terms: Terms, ended: Ended) -> Needs:
    if costs is None:
        return Needs(
            memory=None,
            machine=machine_of(terms, None),
            work=None,
            work_at_most=None,
            duration=None,
            duration_at_most=None,
            money=money_of(terms, rate.price, ended.worker_seconds, []),
            simulation=None,
        )
    left = [run.spec for run in ended.left]
    memory = costs.memory(packs) if packs else None
    seconds = costs.pack_seconds(packs, rate, full=False)
    bills = [(len(pack.runs), one * costs.sweep.cluster.workers) for pack, one in zip(packs, seconds, strict=True)]
    return Needs(
        memory=memory,
        machine=machine_of(terms, memory.on_device if memory else None),
        work=costs.total(left, full=False),
        work_at_most=costs.total(left, full=True),
        duration=costs.duration(packs, trainers, rate, full=False),
        duration_at_most=costs.duration(packs, trainers, rate, full=True),
        money=money_of(terms, rate.price, ended.worker_seconds, bills),
        simulation=simulate(seconds, terms.fleet) if terms.fleet and packs else None,
    )


def _costs(sweep: SweepSpec, shape: ModelShape, tasks: Sequence[TaskPlan], methods: Sequence[MethodPlan]) -> Costs:
    trained = {method.label: method.trainable_parameters or 0 for method in methods}
    return Costs(sweep, shape, {task.name: task.rows for task in tasks}, trained)


def _rate(
    sweep: SweepSpec, tflops: float | None, price: float | None, terms: Terms, ended: Ended, costs: Costs | None
) -> Rate:
    """Return the speed of one worker: given, measured on ended runs, of the accelerator, or of the kind of device."""
    if price is None and terms.price is not None:
        price = terms.price.usd
    if tflops is not None:
        return Rate(tflops, True, price, "as given by --tflops")
    if ended.sampled and costs is not None:
        measured = costs.total(ended.sampled, full=False).train_operations / ended.seconds / 1e12
        return Rate(measured, False, price, f"measured on {count(len(ended.sampled), 'run')} in {ended.note}")
    if terms.accelerator is not None and terms.accelerator.peak_tflops is not None:
        peak = terms.accelerator.peak_tflops
        said = f"ASSUMED, {SHARE_OF_PEAK:.0%} of the peak of {terms.gpu}; measure yours and say --tflops"
        return Rate(SHARE_OF_PEAK * peak, False, price, said.replace("%", " %"))
    usual = TFLOPS_GPU if sweep.cluster.gpus_per_worker else TFLOPS_CPU
    return Rate(usual, False, price, "ASSUMED; measure yours and say --tflops")


def _packs(sweep: SweepSpec, widths: Mapping[str, int], runs: Sequence[PlannedRun]) -> tuple[list[Pack], int]:
    """Return the packs of these runs, and how many trainers train at a time; "auto" counts as one trainer."""
    most = sweep.cluster.max_concurrent
    trainers = 1 if most == "auto" or sweep.cluster.kind == "local" else most
    rivals = kept_together(sweep.search)
    return pack_runs(runs, widths=widths, concurrent=trainers, base_tasks=list(widths), field_of=rivals), trainers


def _task(task: TaskSpec, sweep: SweepSpec) -> TaskPlan:
    rows = rows_of(task, sweep.data)
    return TaskPlan(task.name, rows, count_steps(rows.train, sweep.optim.global_batch, sweep.optim.epochs))


def _width(sweep: SweepSpec, task: TaskPlan) -> int:
    """Return the recipe's width of a pack; for "auto", which a sweep measures, the width that is assumed here."""
    if sweep.cluster.pack != "auto":
        return sweep.cluster.pack
    return assumed_width(sweep.optim.micro_batch * (task.rows.prompt + task.rows.answer))


def _method(method: MethodSpec, shape: ModelShape | None) -> MethodPlan:
    """Return the plan of a method; its trained parameters are those that the method itself declares per layer."""
    trained = None if shape is None else trained_parameters(method, shape.targets(method.patterns))
    return MethodPlan(method.label, method.name, method.targets, method.config.rank, method.control, trained)


def as_json(plan: Estimate) -> dict[str, Any]:
    """Return the estimate for scripts: the fields by their names, as plain values, and the base's parameters."""
    return {**asdict(plan), "parameters": plan.shape.parameters() if plan.shape else None}
