"""Pure: the costs of runs, in memory, arithmetic and time: formulas over tokens and parameters."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.estimate.model_shapes import ModelShape
from orchestrator.estimate.task_sizes import TaskRows
from orchestrator.plan.packs import Pack
from orchestrator.recipe.seeds import drawn
from orchestrator.recipe.spec import SweepSpec

TFLOPS_CPU = 0.03  # one core, float32: about half the speed of matrix products alone
TFLOPS_GPU = 30.0  # about 40 % of the bfloat16 peak of an NVIDIA A10G; an H100 does ten times that
START_SECONDS = 20.0  # of a trainer on Ray, before its first pack begins
PROCESS_BYTES = 460_000_000  # memory of a worker after its imports
TRAINED_BYTES = 16  # per trained parameter, in float32: itself, its gradient and Adam's two moments

Kind = tuple[str, str]
"""The name of a run's task and the label of its method: runs with equal names and labels cost the same."""


@dataclass(frozen=True)
class Bytes:
    """The bytes that one worker of the largest pack holds.

    ``total`` is for rows of usual length, ``total_at_most`` for rows that all have ``max_length`` tokens.
    """

    base: int
    adapters: int
    activations: int
    process: int
    total: int
    total_at_most: int


@dataclass(frozen=True)
class Work:
    """Tokens and operations (multiplications and additions) of one run, or of a sweep."""

    train_tokens: float = 0.0
    score_tokens: float = 0.0
    operations: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.train_tokens + other.train_tokens,
            self.score_tokens + other.score_tokens,
            self.operations + other.operations,
        )

    def times(self, count: int) -> Work:
        """Return the work of ``count`` such runs."""
        return Work(self.train_tokens * count, self.score_tokens * count, self.operations * count)


@dataclass(frozen=True)
class Duration:
    """Hours of all workers together, hours on the clock, and the price of the worker-hours if one hour has a price."""

    worker_hours: float
    hours: float
    cost: float | None


@dataclass(frozen=True)
class Rate:
    """How fast one worker is assumed to be, in 10^12 operations per second, and the price of an hour of it.

    ``given`` says whether the user gave the speed.
    """

    tflops: float
    given: bool
    price: float | None


class Costs:
    """The costs of a sweep on a base whose shape is known: formulas over tokens and parameters."""

    def __init__(
        self, sweep: SweepSpec, shape: ModelShape, rows: Mapping[str, TaskRows], trained: Mapping[str, int]
    ) -> None:
        """Take each task's rows by its name, and each method's trained parameters by its label."""
        self.sweep, self.shape, self.rows, self.trained = sweep, shape, rows, trained
        self.runs = {
            full: {(task, label): self._run(task, label, full) for task in self.rows for label in self.trained}
            for full in (False, True)
        }

    def total(self, *, full: bool) -> Work:
        """Return the work of all runs; ``full`` counts every row as ``max_length`` tokens."""
        each = len(self.sweep.optim.rates) * len(drawn(self.sweep.seeds))
        return sum((work.times(each) for work in self.runs[full].values()), Work())

    def memory(self, packs: Sequence[Pack]) -> Bytes:
        """Return the bytes of a worker of the pack that needs the most."""
        base = self.shape.parameters() * self._item_bytes
        if self.sweep.trained_by.kind == "zero" and self.sweep.engine.stage == 3:
            base //= self.sweep.cluster.workers
        needs = map(self._pack_bytes, dict.fromkeys(map(_kinds, packs)))
        adapters, usual, most = max(needs, key=lambda need: need[0] + need[2])
        fixed = base + adapters + PROCESS_BYTES
        return Bytes(base, adapters, usual, PROCESS_BYTES, fixed + usual, fixed + most)

    def duration(self, packs: Sequence[Pack], trainers: int, rate: Rate, *, full: bool) -> Duration:
        """Return the time of all packs, the longest first, each on the trainer that is free first.

        ``full`` counts every row as ``max_length`` tokens.
        """
        start = START_SECONDS if self.sweep.cluster.kind == "ray" else 0.0
        workers = self.sweep.cluster.workers
        seconds = self._seconds(packs, rate.tflops * 1e12 * workers, full)
        free = [start] * min(trainers, len(packs))
        for pack_seconds in sorted(seconds, reverse=True):
            heapq.heapreplace(free, free[0] + pack_seconds)
        worker_hours = (start * len(free) + sum(seconds)) * workers / 3600
        return Duration(worker_hours, max(free) / 3600, None if rate.price is None else rate.price * worker_hours)

    def _run(self, task: str, label: str, full: bool) -> Work:
        """Return the work of one run: 4 operations per base parameter and token to train, 2 to score.

        A parameter of the adapter costs 6, because it has a gradient. Gradient checkpointing costs 2 more per parameter
        of either. The head is applied to the tokens of answers alone. Attention's own products, a few per cent at these
        lengths, are left out.
        """
        rows, trained = self.rows[task], self.trained[label]
        trains, recomputed = rows.train * self.sweep.optim.epochs, 2 * self.sweep.engine.gradient_checkpointing
        length = self._length(rows, full)
        asked = rows.scored * (length + (rows.choices - 1) * rows.answer)  # the choices share their prompt
        body = trains * length * ((4 + recomputed) * self.shape.body + (6 + recomputed) * trained)
        body += asked * 2 * (self.shape.body + trained)
        head = (4 * trains + 2 * rows.scored * rows.choices) * rows.answer * self.shape.head
        return Work(trains * length, asked, body + head)

    def _length(self, rows: TaskRows, full: bool) -> int:
        longest = self.sweep.data.max_length
        return longest if full else min(rows.prompt + rows.answer, longest)

    def _seconds(self, packs: Sequence[Pack], speed: float, full: bool) -> list[float]:
        """Return the seconds of each pack at ``speed`` operations per second; equal packs are computed once."""
        kinds = [_kinds(pack) for pack in packs]
        each = {own: sum(self.runs[full][kind].operations for kind in own) / speed for own in dict.fromkeys(kinds)}
        return [each[own] for own in kinds]

    def _pack_bytes(self, kinds: Sequence[Kind]) -> tuple[int, int, int]:
        """Return the bytes of a pack's adapters, and of its activations for usual and for the longest rows."""
        adapters = TRAINED_BYTES * sum(self.trained[label] for _, label in kinds)
        rows = [self.rows[task] for task, _ in kinds]
        usual, most = (self._activations([self._length(task, full) for task in rows], rows) for full in (False, True))
        return adapters, usual, most

    def _activations(self, lengths: Sequence[int], rows: Sequence[TaskRows]) -> int:
        """Return roughly the bytes that a micro step keeps for its backward pass.

        These bytes are the inputs of norms, matrices and attention, and float32 logits with their gradient. On a base
        in half precision a block also keeps some float32 and the base products of its adapted layers, four hidden sizes
        in all, and the block that the backward pass is in works on eight more (measured on a GPU, docs/results.md).
        """
        shape, micro = self.shape, self.sweep.optim.micro_batch
        tokens = micro * sum(lengths)
        half = self._item_bytes == 2
        block, working = (10 + 4 * half) * shape.hidden + 3 * shape.intermediate, 8 * half * shape.hidden
        checkpointing = self.sweep.engine.gradient_checkpointing
        kept = (shape.layers * shape.hidden + block if checkpointing else shape.layers * block) + working
        logits = 8 * shape.vocab * micro * sum(task.answer for task in rows)  # float32, with their gradient
        return tokens * kept * self._item_bytes + logits

    @property
    def _item_bytes(self) -> int:
        model, gpu = self.sweep.model, bool(self.sweep.cluster.gpus_per_worker)
        return 2 if model.dtype == "bfloat16" or (model.dtype == "auto" and gpu) else 4


def _kinds(pack: Pack) -> tuple[Kind, ...]:
    return tuple([(run.spec.task.name, run.spec.method.label) for run in pack.runs])
