"""Pure: the costs of runs, in memory, arithmetic and time: formulas over tokens and parameters."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.estimate.memory import Bytes, LaneLoad, MemoryModel, kept_numbers
from orchestrator.estimate.model_shapes import ModelShape
from orchestrator.estimate.task_sizes import TaskRows
from orchestrator.plan.packs import Pack
from orchestrator.plan.runs import RunSpec
from orchestrator.recipe.spec import SweepSpec

TFLOPS_CPU = 0.03  # one core, float32: about half the speed of matrix products alone
TFLOPS_GPU = 30.0  # about 40 % of the bfloat16 peak of an NVIDIA A10G; an H100 does ten times that
START_SECONDS = 20.0  # of a trainer on Ray, before its first pack begins

Kind = tuple[str, str]
"""The name of a run's task and the label of its method: runs with equal names and labels cost the same."""


@dataclass(frozen=True)
class Work:
    """Tokens and operations (multiplications and additions) of one run, or of a sweep.

    ``train_operations`` are those of the steps; scoring takes the rest of ``operations``.
    """

    train_tokens: float = 0.0
    score_tokens: float = 0.0
    operations: float = 0.0
    train_operations: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.train_tokens + other.train_tokens,
            self.score_tokens + other.score_tokens,
            self.operations + other.operations,
            self.train_operations + other.train_operations,
        )

    def times(self, count: int) -> Work:
        """Return the work of ``count`` such runs."""
        return Work(
            *(one * count for one in (self.train_tokens, self.score_tokens, self.operations, self.train_operations))
        )


@dataclass(frozen=True)
class Duration:
    """Hours of all workers together, hours on the clock, and the price of the worker-hours if one hour has a price."""

    worker_hours: float
    hours: float
    cost: float | None


@dataclass(frozen=True)
class Rate:
    """How fast one worker is assumed to be, in 10^12 operations per second, and the price of an hour of it.

    ``given`` says whether the user gave the speed, ``source`` where it is from.
    """

    tflops: float
    given: bool
    price: float | None
    source: str = ""


class Costs:
    """The costs of a sweep on a base whose shape is known: formulas over tokens and parameters."""

    def __init__(
        self, sweep: SweepSpec, shape: ModelShape, rows: Mapping[str, TaskRows], trained: Mapping[str, int]
    ) -> None:
        """Take each task's rows by its name, and each method's trained parameters by its label."""
        self.sweep, self.shape, self.rows, self.trained = sweep, shape, rows, trained
        self.kept = {method.label: kept_numbers(shape, method) for method in sweep.methods}
        self.runs = {
            full: {(task, label): self._run(task, label, full) for task in self.rows for label in self.trained}
            for full in (False, True)
        }

    def total(self, runs: Iterable[RunSpec], *, full: bool) -> Work:
        """Return the work of these runs; ``full`` counts every row as ``max_length`` tokens."""
        counted = Counter((run.task.name, run.method.label) for run in runs)
        return sum((self.runs[full][kind].times(count) for kind, count in counted.items()), Work())

    def memory(self, packs: Sequence[Pack]) -> Bytes:
        """Return the bytes of a worker of the pack that needs the most."""
        model = MemoryModel(self.sweep, self.shape)
        each = (model.of(list(map(self._load, kinds))) for kinds in dict.fromkeys(map(_kinds, packs)))
        return max(each, key=lambda need: (need.total_at_most, need.total))

    def duration(self, packs: Sequence[Pack], trainers: int, rate: Rate, *, full: bool) -> Duration:
        """Return the time of all packs, the longest first, each on the trainer that is free first.

        ``full`` counts every row as ``max_length`` tokens.
        """
        if not packs:
            return Duration(0.0, 0.0, None if rate.price is None else 0.0)
        start, workers = self.start_seconds, self.sweep.cluster.workers
        seconds = self.pack_seconds(packs, rate, full=full)
        free = [start] * min(trainers, len(packs))
        for pack_seconds in sorted(seconds, reverse=True):
            heapq.heapreplace(free, free[0] + pack_seconds)
        worker_hours = (start * len(free) + sum(seconds)) * workers / 3600
        return Duration(worker_hours, max(free) / 3600, None if rate.price is None else rate.price * worker_hours)

    @property
    def start_seconds(self) -> float:
        """The seconds that a trainer needs before its first pack."""
        return START_SECONDS if self.sweep.cluster.kind == "ray" else 0.0

    def pack_seconds(self, packs: Sequence[Pack], rate: Rate, *, full: bool) -> list[float]:
        """Return the seconds of each pack on one trainer; equal packs are computed once."""
        speed = rate.tflops * 1e12 * self.sweep.cluster.workers
        kinds = [_kinds(pack) for pack in packs]
        each = {own: sum(self.runs[full][kind].operations for kind in own) / speed for own in dict.fromkeys(kinds)}
        return [each[own] for own in kinds]

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
        learned = trains * length * ((4 + recomputed) * self.shape.body + (6 + recomputed) * trained)
        learned += 4 * trains * rows.answer * self.shape.head
        body = asked * 2 * (self.shape.body + trained)
        head = 2 * rows.scored * rows.choices * rows.answer * self.shape.head
        return Work(trains * length, asked, learned + body + head, learned)

    def _length(self, rows: TaskRows, full: bool) -> int:
        longest = self.sweep.data.max_length
        return longest if full else min(rows.prompt + rows.answer, longest)

    def _load(self, kind: Kind) -> LaneLoad:
        task, label = kind
        rows = self.rows[task]
        return LaneLoad(
            trained=self.trained[label],
            kept=self.kept[label],
            length=self._length(rows, full=False),
            full=self._length(rows, full=True),
            answer=rows.answer,
            choices=rows.choices,
            scored=max(rows.validation, rows.test),
        )


def _kinds(pack: Pack) -> tuple[Kind, ...]:
    return tuple([(run.spec.task.name, run.spec.method.label) for run in pack.runs])
