"""Measure time and memory of a step of 1, 2, 4, ... lanes, on the sweep's own base, methods and rows.

Only the first layers of the base are measured; the cost of the whole base follows from them (ADR 7).
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

import d2lora
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
from orchestrator.model.shortcuts import take
from orchestrator.plan.runs import PlannedRun
from orchestrator.plan.widths import Point, best_width, extended, whole_bytes, worth_doubling
from orchestrator.recipe.sections import EngineSpec
from orchestrator.train.engine.plain import PlainEngine
from orchestrator.train.lanes import LanePlan
from orchestrator.train.loop import train_lanes
from orchestrator.train.pass_size import MemoryReader
from orchestrator.train.passes import pass_tokens
from orchestrator.worker.jobs import ProbeJob
from orchestrator.worker.lanes import lane_of_run
from orchestrator.worker.probe_batches import Batch, micro_batch_tokens, probe_batches

LAYERS = 4  # the number of layers that are measured; time is in proportion to it
FEWER = 2  # the layers of a second measurement of a deeper base, whose memory is on the line through FEWER and LAYERS
SHARE = 0.02  # the share of a sweep's time that measuring may take
SECONDS = 3.0  # the time that measuring a task may take, however short the sweep


def probe_widths(job: ProbeJob, device: torch.device) -> dict[str, int]:
    """Return by task how many runs a pack should hold at most."""
    keep_freed_pages()
    model = load_model(Path(job.base_path), DTYPES[job.runs[0].spec.model.dtype])
    whole = _bytes(model)
    depth_ratio = shorten_model(model, LAYERS)
    left_out = whole - _bytes(model)
    model.to(device)
    take(model, job.shortcuts, device)
    if job.engine.gradient_checkpointing:
        enable_checkpointing(model)
    widths = {}
    for task in dict.fromkeys(run.spec.task.name for run in job.runs):
        runs = _with_commonest_targets([run for run in job.runs if run.spec.task.name == task])
        items = load_prepared(Path(job.data[task]))["train"]
        widths[task] = TaskProbe(model, depth_ratio, runs, items, job.engine, device).width(job, left_out)
    return widths


class TaskProbe:
    """Measures steps of packs of one task on a shortened base; the whole base is ``depth_ratio`` times as deep."""

    def __init__(
        self,
        model: torch.nn.Module,
        depth_ratio: float,
        runs: Sequence[PlannedRun],
        items: Sequence[Item],
        engine: EngineSpec,
        device: torch.device,
        memory: MemoryReader = of_this_process,
    ) -> None:
        """Measure ``runs``, all of one task with the training ``items`` and of one set of targets."""
        self.model, self.depth_ratio, self.runs, self.device, self.memory = model, depth_ratio, runs, device, memory
        self.tokens = engine.pass_tokens
        optim = runs[0].spec.optim
        self.batches = probe_batches(items, optim, runs[0].spec.task.name)
        self.steps = LanePlan.of("", items, 0, 0.0, optim).steps
        self.optim = optim.model_copy(update={"epochs": 1.0})  # a measured batch is then one step
        self.start_seconds = 0.0

    def width(self, job: ProbeJob, left_out: int) -> int:
        """Return how many runs a pack of this task should hold.

        The measured width is doubled until a wider pack cannot be faster, does not fit, or would take too long to
        measure. Time and memory of wider packs are then read off the line through the measured points. ``left_out`` is
        the size, in bytes, of the layers that the shortened base lacks.
        """
        let_go(self.device)
        runs, trainers = self._packable(job)
        self.memory.reset_peak(self.device)
        idle, begin = self.memory.peak_bytes(self.device), time.monotonic()
        # On a GPU a worker has the memory for itself. On CPUs all workers share the machine's memory, of which this
        # process holds `idle` bytes already.
        sharing = 1 if self.device.type == "cuda" else job.trainers * job.workers
        limit = (self.memory.free_bytes(self.device) + idle) // sharing - left_out
        first = self._point_that_fits(1, idle)
        if first is None:  # in training the passes of a single lane are cut until they fit (`pass_size`)
            return 1
        self.fit_passes(first, idle, limit)
        points = [first]
        most = max(1, -(-runs // trainers))
        allowed = max(SECONDS, SHARE * first.seconds * self.steps * len(self.runs) / trainers)
        while worth_doubling(points, most_lanes=most, most_bytes=limit, idle_bytes=idle):
            if 3 * (time.monotonic() - begin) > allowed:  # the next width takes twice as long as all before it
                break
            point = self._point_that_fits(2 * points[-1].lanes, idle)
            if point is None:
                most = points[-1].lanes
                break
            points.append(point)
        points = extended(points, fill=self._fill(), most_lanes=most, most_bytes=limit)
        start = self.start_seconds * self.depth_ratio
        return best_width(points, runs=runs, trainers=trainers, start_seconds=start, steps=self.steps)

    def fit_passes(self, first: Point, idle: int, limit: int) -> None:
        """Set how many tokens a pass holds on a GPU, as training will, from the bytes that one lane has needed."""
        if self.device.type == "cpu" or self.tokens != "auto":
            return
        (batch,) = self.batches.longest
        bytes_per_token = (first.bytes - idle) / micro_batch_tokens(batch, self.optim)
        width = hidden_size(self.model)
        self.tokens = pass_tokens("auto", self.device.type, width, bytes_per_token, limit - idle)

    def point(self, lanes: int, idle: int) -> Point:
        """Measure a step of ``lanes`` lanes, as the whole base would take it; ``idle`` are the bytes held before."""
        with self.with_lanes(lanes) as engine:
            held = self._step_bytes(engine, lanes, idle)
            seconds = min(self._step_seconds(engine, lanes, self.batches.typical) for _ in range(2))
        if self.depth_ratio > 1:
            with first_layers(self.model, FEWER), self.with_lanes(lanes) as engine:
                fewer = self._step_bytes(engine, lanes, idle)
            held = whole_bytes(fewer, held, (FEWER, LAYERS), round(self.depth_ratio * LAYERS))
        return Point(lanes, self.depth_ratio * seconds, idle + held)

    @contextmanager
    def with_lanes(self, lanes: int) -> Iterator[PlainEngine]:
        """Within: the model has ``lanes`` lanes, of runs that are spread evenly over the task's runs."""
        begin = time.perf_counter()
        chosen = [self.runs[index * len(self.runs) // lanes] for index in range(lanes)]
        d2lora.attach_lanes(self.model, [lane_of_run(run) for run in chosen], chosen[0].spec.method.patterns)
        try:
            engine = PlainEngine(self.model, lanes, self.optim, self.device)
            self.start_seconds = time.perf_counter() - begin
            yield engine
        finally:
            d2lora.detach(self.model)

    def _packable(self, job: ProbeJob) -> tuple[int, int]:
        """Return the number of runs that packs of this task may hold, and the number of trainers that train them.

        Several trainers are divided among the tasks. On a single trainer a pack may be filled with runs of other tasks,
        so all runs with the same targets count as if they were of this task.
        """
        if job.trainers > 1:
            return len(self.runs), max(1, job.trainers // len({run.spec.task.name for run in job.runs}))
        targets = self.runs[0].spec.method.targets
        return sum(run.spec.method.targets == targets for run in job.runs), 1

    def _fill(self) -> int:
        """Return how many lanes with a typical batch fit into one pass through the model."""
        tokens = micro_batch_tokens(self.batches.typical[0], self.optim)
        return max(1, pass_tokens(self.tokens, self.device.type, hidden_size(self.model)) // tokens)

    def _point_that_fits(self, lanes: int, idle: int) -> Point | None:
        """Measure a step of ``lanes`` lanes; None if memory has no room for these lanes."""
        try:
            return self.point(lanes, idle)
        except (RuntimeError, MemoryError) as error:
            full = isinstance(error, RunError) or out_of_memory(error)
            if not full:
                raise
        let_go(self.device)  # outside of `except`: within, the error's traceback holds the tensors of the step
        return None

    def _step_bytes(self, engine: PlainEngine, lanes: int, idle: int) -> int:
        """Return the most bytes that a step with the longest rows holds beside the idle model."""
        self.memory.reset_peak(self.device)
        self._step_seconds(engine, lanes, self.batches.longest)
        return self.memory.peak_bytes(self.device) - idle

    def _step_seconds(self, engine: PlainEngine, lanes: int, batches: Sequence[Batch]) -> float:
        """Return the seconds of one optimizer step in which the lanes have ``batches`` in turn."""
        batch_of = itertools.cycle(batches)
        plans = [LanePlan.of("probe", next(batch_of), 0, 1e-6, self.optim) for _ in range(lanes)]
        begin = time.perf_counter()
        train_lanes(engine, plans, self.optim, on_step=lambda _: None, on_end=lambda *_: None, tokens=self.tokens)
        return time.perf_counter() - begin


def _with_commonest_targets(runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """Return the runs with the most common targets: only runs with the same targets are ever packed together."""
    (targets, _), *_ = Counter(run.spec.method.targets for run in runs).most_common(1)
    return [run for run in runs if run.spec.method.targets == targets]


def _bytes(model: torch.nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
