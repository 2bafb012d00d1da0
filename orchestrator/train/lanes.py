"""A lane in training: its plan, its rows, the global batch of each step, and the record of a step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from orchestrator.data.batches import count_steps, draw_batches
from orchestrator.data.tokens import Item
from orchestrator.model.token_batch import AnswerRow
from orchestrator.recipe.sections import OptimSpec
from orchestrator.train.schedule import rate_at
from orchestrator.train.step_passes import GlobalBatch


@dataclass(frozen=True)
class LaneStep:
    """The record of one optimizer step of one lane.

    ``loss`` is the mean, in nats, over the answer tokens of the lane's global batch. ``grad_norm`` is the norm before
    clipping. ``tokens`` counts the lane's tokens, padding excluded. ``utilisation`` is the share of tokens among all
    positions, padding included, that this rank computed for the whole pack in this step. ``micro_batch`` is how many
    rows of the lane a pass held at most: fewer than the recipe says if memory was full.
    """

    step: int
    loss: float
    rate: float
    grad_norm: float
    tokens: int
    utilisation: float
    micro_batch: int = 0

    @property
    def diverged(self) -> bool:
        """Whether loss or gradient stopped being finite."""
        return not (math.isfinite(self.loss) and math.isfinite(self.grad_norm))


@dataclass(frozen=True)
class LanePlan:
    """What one lane trains on: its task's items, the data seed that orders them, its peak rate and its steps.

    ``rungs`` are the numbers of steps done at which `train_lanes` asks whether the lane goes on. The lane goes on after
    ``done`` steps; None: it has left before.
    """

    task: str
    items: Sequence[Item]
    seed: int
    peak: float
    steps: int
    rungs: tuple[int, ...] = ()
    done: int | None = 0

    @classmethod
    def of(cls, task: str, items: Sequence[Item], seed: int, peak: float, optim: OptimSpec) -> LanePlan:
        """Return the plan with the number of steps that ``optim`` takes over ``items``."""
        return cls(task, items, seed, peak, count_steps(len(items), optim.global_batch, optim.epochs))


@dataclass
class Lane:
    """A lane while it trains.

    ``rows`` are its task's rows, ``batches`` yields the row numbers of the global batch of each further step, and
    ``done`` counts the steps that the lane has done.
    """

    plan: LanePlan
    rows: Sequence[AnswerRow]
    batches: Iterator[list[int]]
    done: int = 0

    @classmethod
    def of(cls, plan: LanePlan, done: int, rows: Sequence[AnswerRow], optim: OptimSpec) -> Lane:
        """Return the lane after ``done`` steps.

        The seed and the number of steps decide everything about the batches to come, so no generator is kept.
        """
        lengths = [len(ids) for ids, _ in rows]
        batches = draw_batches(
            lengths, global_batch=optim.global_batch, epochs=optim.epochs, task=plan.task, seed=plan.seed
        )
        return cls(plan, rows, islice(batches, done, None), done)

    def next_batch(self) -> GlobalBatch:
        """Return the global batch of the next step."""
        return GlobalBatch.of([self.rows[number] for number in next(self.batches)])

    def rate(self, optim: OptimSpec) -> float:
        """Return the learning rate of the next step."""
        return rate_at(self.done, self.plan.steps, peak=self.plan.peak, warmup=optim.warmup, schedule=optim.schedule)


def lanes_of(plans: Sequence[LanePlan], optim: OptimSpec) -> dict[int, Lane]:
    """Return the lanes that have not left before, by number; lanes of one task share its rows in memory."""
    rows = {id(plan.items): trained_rows(plan.items) for plan in plans if plan.done is not None}
    return {
        number: Lane.of(plan, plan.done, rows[id(plan.items)], optim)
        for number, plan in enumerate(plans)
        if plan.done is not None
    }


def trained_rows(items: Sequence[Item]) -> list[AnswerRow]:
    """Return the row of each item that is trained (its prompt with the right answer), in four bytes per token."""
    return [(np.array(ids, np.int32), start) for ids, start in (item.trained() for item in items)]
