"""Measure what a step of 1, 2, 4, ... lanes costs in time and memory, on the sweep's own base, methods and rows."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

import d2lora
from orchestrator.data.batches import draw_batches
from orchestrator.data.prepared import load_prepared
from orchestrator.data.tokens import Item
from orchestrator.errors import RunError
from orchestrator.machine import memory as of_this_process
from orchestrator.machine.memory import keep_freed_pages, let_go, out_of_memory
from orchestrator.model.loading import (
    DTYPES,
    enable_checkpointing,
    first_layers,
    hidden_size,
    load_model,
    shorten_model,
)
from orchestrator.model.shortcuts import NONE, Shortcuts, take
from orchestrator.plan.runs import PlannedRun
from orchestrator.plan.widths import Point, best_width, extended, whole_bytes, worth_doubling
from orchestrator.recipe.sections import EngineSpec, OptimSpec
from orchestrator.train.engine.plain import PlainEngine
from orchestrator.train.lanes import LanePlan
from orchestrator.train.loop import train_lanes
from orchestrator.train.pass_size import MemoryReader
from orchestrator.train.passes import pass_tokens
from orchestrator.worker.lanes import lane_of_run

LAYERS = 4  # of the base that are measured: time grows with layers
FEWER = 2  # that are measured too where LAYERS stand for more: memory is on the line through both
SHARE = 0.02  # of a sweep's time that its probe may take
SEEDS = 4  # whose batches the lanes of a measurement get in turn
SECONDS = 3.0  # that a task's probe may take however short the sweep


@dataclass(frozen=True)
class ProbeJob:
    """What to measure: the runs that are to be packed, for how many trainers of how many workers.

    Workers are taken to share one machine's memory, unless each has a GPU.
    """

    base_path: str
    data: dict[str, str]
    engine: EngineSpec
    runs: tuple[PlannedRun, ...]
    trainers: int
    workers: int = 1
    shortcuts: Shortcuts = NONE


def probe_widths(job: ProbeJob, device: torch.device) -> dict[str, int]:
    """Return how many runs a pack of each task should hold at most."""
    keep_freed_pages()
    dtype = DTYPES[job.runs[0].spec.model.dtype]
    model = load_model(Path(job.base_path), dtype)
    whole = _bytes(model)
    times = shorten_model(model, LAYERS)
    left_out = whole - _bytes(model)
    model.to(device)
    take(model, job.shortcuts, device)
    if job.engine.gradient_checkpointing:
        enable_checkpointing(model)
    widths = {}
    for task in dict.fromkeys(run.spec.task.name for run in job.runs):
        runs = _alike([run for run in job.runs if run.spec.task.name == task])
        items = load_prepared(Path(job.data[task]))["train"]
        widths[task] = _Probe(model, times, runs, items, job.engine, device).width(job, left_out)
    return widths


class _Probe:
    """Steps of packs of one task, on a base of fewer layers whose cost is ``times`` as large in the whole one."""

    def __init__(
        self,
        model: torch.nn.Module,
        times: float,
        runs: Sequence[PlannedRun],
        items: Sequence[Item],
        engine: EngineSpec,
        device: torch.device,
        memory: MemoryReader = of_this_process,
    ) -> None:
        self.model, self.times, self.runs, self.device, self.memory = model, times, runs, device, memory
        self.tokens = engine.pass_tokens
        self.typical, self.longest = _batches(items, runs[0].spec.optim, runs[0].spec.task.name)
        self.steps = LanePlan.of("", items, 0, 0.0, runs[0].spec.optim).steps
        self.optim = runs[0].spec.optim.model_copy(update={"epochs": 1.0})
        self.start_seconds = 0.0

    def width(self, job: ProbeJob, left_out: int) -> int:
        """Measure widths until a wider pack cannot pay, does not fit, or would take too long; then go by the line."""
        let_go(self.device)
        runs, trainers = self._share(job)
        self.memory.reset_peak(self.device)
        idle, begin = self.memory.peak_bytes(self.device), time.monotonic()
        # on a GPU a worker is alone; on CPUs it shares what there is, of which this process holds some already
        sharing = 1 if self.device.type == "cuda" else job.trainers * job.workers
        limit = (self.memory.free_bytes(self.device) + idle) // sharing - left_out
        first = self._tried(1, idle)
        if first is None:  # in training its passes are cut (`pass_size`)
            return 1
        self._fit_passes(first, idle, limit)
        points = [first]
        most = max(1, -(-runs // trainers))
        allowed = max(SECONDS, SHARE * points[0].seconds * self.steps * len(self.runs) / trainers)
        while worth_doubling(points, most_lanes=most, most_bytes=limit, idle_bytes=idle):
            if 3 * (time.monotonic() - begin) > allowed:  # the next takes twice as long as all before it
                break
            point = self._tried(2 * points[-1].lanes, idle)
            if point is None:
                most = points[-1].lanes
                break
            points.append(point)
        points = extended(points, fill=self._fill(), most_lanes=most, most_bytes=limit)
        start = self.start_seconds * self.times
        return best_width(points, runs=runs, trainers=trainers, start_seconds=start, steps=self.steps)

    def _share(self, job: ProbeJob) -> tuple[int, int]:
        """Return the runs that packs of this task may hold, and the trainers that are at them.

        Several trainers are shared out among the tasks. On a single one runs of other tasks may fill a pack, so all
        that can be packed count as if they were of this task.
        """
        if job.trainers > 1:
            return len(self.runs), max(1, job.trainers // len({run.spec.task.name for run in job.runs}))
        wanted = self.runs[0].spec.method.targets
        return sum(run.spec.method.targets == wanted for run in job.runs), 1

    def _fill(self) -> int:
        """Return how many lanes with the typical batch fit into one pass through the model."""
        batch = self.typical[0]
        tokens = min(self.optim.micro_batch, len(batch)) * max(map(_length, batch))
        return max(1, pass_tokens(self.tokens, self.device.type, hidden_size(self.model)) // tokens)

    def _fit_passes(self, first: Point, idle: int, limit: int) -> None:
        """Say how many tokens a pass holds on a GPU, as training will, from what one lane has needed."""
        if self.device.type == "cpu" or self.tokens != "auto":
            return
        (batch,) = self.longest
        tokens = min(self.optim.micro_batch, len(batch)) * max(map(_length, batch))
        each = (first.bytes - idle) / tokens
        self.tokens = pass_tokens("auto", self.device.type, hidden_size(self.model), each, limit - idle)

    def _tried(self, lanes: int, idle: int) -> Point | None:
        """Return what so many lanes cost, or None where memory has no room for them: fewer may well fit."""
        try:
            return self._point(lanes, idle)
        except (RuntimeError, MemoryError) as error:
            full = isinstance(error, RunError) or out_of_memory(error)
            if not full:
                raise
        let_go(self.device)  # out here: within, the error still holds what the step had made
        return None

    def _point(self, lanes: int, idle: int) -> Point:
        with self._lanes(lanes) as engine:
            held = self._held(engine, lanes, idle)
            seconds = min(self._step(engine, lanes, self.typical) for _ in range(2))
        if self.times > 1:
            with first_layers(self.model, FEWER), self._lanes(lanes) as engine:
                fewer = self._held(engine, lanes, idle)
            held = whole_bytes(fewer, held, (FEWER, LAYERS), round(self.times * LAYERS))
        return Point(lanes, self.times * seconds, idle + held)

    @contextmanager
    def _lanes(self, lanes: int) -> Iterator[PlainEngine]:
        """Within: the model has so many lanes, of runs from all over the plan."""
        begin = time.perf_counter()
        chosen = [self.runs[index * len(self.runs) // lanes] for index in range(lanes)]
        d2lora.attach_lanes(self.model, [lane_of_run(run) for run in chosen], chosen[0].spec.method.patterns)
        try:
            engine = PlainEngine(self.model, lanes, self.optim, self.device)
            self.start_seconds = time.perf_counter() - begin
            yield engine
        finally:
            d2lora.detach(self.model)

    def _held(self, engine: PlainEngine, lanes: int, idle: int) -> int:
        """Return the most bytes that a step with the longest rows holds beside the idle model."""
        self.memory.reset_peak(self.device)
        self._step(engine, lanes, self.longest)
        return self.memory.peak_bytes(self.device) - idle

    def _step(self, engine: PlainEngine, lanes: int, batches: Sequence[Sequence[Item]]) -> float:
        """Return the seconds of one optimizer step in which the lanes have these batches in turn."""
        batch_of = itertools.cycle(batches)
        plans = [LanePlan.of("probe", next(batch_of), 0, 1e-6, self.optim) for _ in range(lanes)]
        begin = time.perf_counter()
        train_lanes(engine, plans, self.optim, on_step=lambda _: None, on_end=lambda *_: None, tokens=self.tokens)
        return time.perf_counter() - begin


def _alike(runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """Return the runs with the most common targets: only runs with the same targets are ever packed."""
    (targets, _), *_ = Counter(run.spec.method.targets for run in runs).most_common(1)
    return [run for run in runs if run.spec.method.targets == targets]


def _bytes(model: torch.nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def _batches(items: Sequence[Item], optim: OptimSpec, task: str) -> tuple[list[list[Item]], list[list[Item]]]:
    """Return the batches of `SEEDS` seeds at the step where the first one's longest row is of median length.

    And, as the second, the one batch that has the longest row of that seed. At one step the seeds' rows are of
    different lengths, as those of a pack's lanes are.
    """
    lengths = [_length(item) for item in items]
    drawn = [
        list(draw_batches(lengths, global_batch=optim.global_batch, epochs=1, task=task, seed=seed))
        for seed in range(SEEDS)
    ]
    steps = sorted(range(len(drawn[0])), key=lambda step: max(lengths[row] for row in drawn[0][step]))
    typical = [[items[row] for row in batches[steps[len(steps) // 2]]] for batches in drawn]
    return typical, [[items[row] for row in drawn[0][steps[-1]]]]


def _length(item: Item) -> int:
    return len(item.trained()[0])
