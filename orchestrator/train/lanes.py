"""A lane in training: its rows and steps, its state, and the record of one step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.data.batches import count_steps, draw_batches
from orchestrator.data.tokens import Item
from orchestrator.model.token_batch import AnswerRow
from orchestrator.recipe.sections import OptimSpec
from orchestrator.train.schedule import rate_at
from orchestrator.train.step_passes import LaneBatch


@dataclass(frozen=True)
class LaneStep:
    """What one optimizer step of one lane did; ``loss`` is the mean over the answer tokens of its global batch.

    ``utilisation`` is the share of tokens among all places, padding included, of the pack's step on this rank.
    """

    step: int
    loss: float
    rate: float
    grad_norm: float
    tokens: int
    utilisation: float


@dataclass(frozen=True)
class LanePlan:
    """What one lane trains on: its task's rows, the seed that orders them (its data seed), and its peak rate.

    ``rungs`` are the steps after which it is asked whether the lane goes on.
    """

    task: str
    items: Sequence[Item]
    seed: int
    peak: float
    steps: int
    rungs: tuple[int, ...] = ()

    @classmethod
    def of(cls, task: str, items: Sequence[Item], seed: int, peak: float, optim: OptimSpec) -> LanePlan:
        """Return the plan with its number of steps."""
        return cls(task, items, seed, peak, count_steps(len(items), optim.global_batch, optim.epochs))


NO_ROWS = LaneBatch((), 0)


@dataclass
class _Lane:
    plan: LanePlan
    batches: Iterator[list[int]]
    rows: list[AnswerRow]
    living: bool = True
    batch: LaneBatch = NO_ROWS


def _lane(plan: LanePlan, rows: list[AnswerRow], optim: OptimSpec) -> _Lane:
    lengths = [len(ids) for ids, _ in rows]
    batches = draw_batches(
        lengths, global_batch=optim.global_batch, epochs=optim.epochs, task=plan.task, seed=plan.seed
    )
    return _Lane(plan, batches, rows)


def _rate(lane: _Lane, step: int, optim: OptimSpec) -> float:
    return rate_at(step, lane.plan.steps, peak=lane.plan.peak, warmup=optim.warmup, schedule=optim.schedule)
