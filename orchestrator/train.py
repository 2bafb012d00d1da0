"""The loop over lanes: it knows batches, losses and engines, and neither Ray nor MLflow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

import torch
from torch import Tensor, nn

from d2lora import lane_rows
from orchestrator.answer_loss import answer_losses
from orchestrator.batches import count_steps, draw_batches, share
from orchestrator.blocks import padded_lengths
from orchestrator.engine.engine import Engine
from orchestrator.model import hidden_size
from orchestrator.packed import Packed, Row, pack_rows
from orchestrator.passes import pass_tokens, split_into_passes
from orchestrator.schedule import rate_at
from orchestrator.shortcuts import takes_blocks
from orchestrator.spec import OptimSpec
from orchestrator.tokens import Item


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


@dataclass
class _Lane:
    plan: LanePlan
    batches: Iterator[list[int]]
    rows: list[Row]
    living: bool = True
    batch: list[int] = field(default_factory=list)

    def tokens(self) -> tuple[int, int]:
        """Return the tokens, and the answer tokens, of the present batch."""
        rows = [self.rows[row] for row in self.batch]
        return sum(len(ids) for ids, _ in rows), sum(len(ids) - start for ids, start in rows)


def train_lanes(
    engine: Engine,
    plans: Sequence[LanePlan],
    optim: OptimSpec,
    *,
    on_step: Callable[[dict[int, LaneStep]], None],
    on_end: Callable[[list[int], list[int]], None],
    on_rung: Callable[[int, list[int]], list[int]] | None = None,
    tokens: int | Literal["auto"] = "auto",
) -> None:
    """Train every lane to its own end; a pass through the model holds about ``tokens`` tokens, whole lanes of them.

    After each step ``on_step`` gets what the lanes did. When lanes leave, ``on_end`` gets (finished, diverged): a lane
    diverges at the first loss or gradient that is not finite, steps no further, and its neighbours go on unchanged.
    After that ``on_rung`` gets the number of steps done and the lanes for which it is a rung, and returns those that
    leave there; a lane's last step is none.
    """
    lanes = [_lane(plan, optim) for plan in plans]
    most = pass_tokens(tokens, engine.device.type, hidden_size(engine.model))
    engine.model.train()
    step = 0
    while living := [index for index, lane in enumerate(lanes) if lane.living]:
        for index in living:
            lanes[index].batch = next(lanes[index].batches)
        losses_L, utilisation = _accumulate(engine, lanes, optim, step, most)
        rates = [_rate(lane, step, optim) if lane.living else None for lane in lanes]
        norms = engine.step(rates)
        done = {
            index: LaneStep(step, losses_L[index], rates[index] or 0.0, norms[index], lane.tokens()[0], utilisation)
            for index, lane in enumerate(lanes)
            if lane.living
        }
        on_step(done)
        step += 1
        diverged = [i for i, one in done.items() if not (math.isfinite(one.loss) and math.isfinite(one.grad_norm))]
        finished = [index for index in living if step == lanes[index].plan.steps and index not in diverged]
        for index in (*diverged, *finished):
            lanes[index].living = False
        if diverged or finished:
            on_end(finished, diverged)
        reached = [index for index in living if lanes[index].living and step in lanes[index].plan.rungs]
        for index in on_rung(step, reached) if on_rung and reached else ():
            lanes[index].living = False


def _lane(plan: LanePlan, optim: OptimSpec) -> _Lane:
    rows: list[Row] = [(item.choices[item.answer], item.starts[item.answer]) for item in plan.items]
    lengths = [len(ids) for ids, _ in rows]
    batches = draw_batches(
        lengths, global_batch=optim.global_batch, epochs=optim.epochs, task=plan.task, seed=plan.seed
    )
    return _Lane(plan, batches, rows)


def _rate(lane: _Lane, step: int, optim: OptimSpec) -> float:
    return rate_at(step, lane.plan.steps, peak=lane.plan.peak, warmup=optim.warmup, schedule=optim.schedule)


def _accumulate(
    engine: Engine, lanes: Sequence[_Lane], optim: OptimSpec, step: int, most: int
) -> tuple[list[float], float]:
    """Add up the gradients of one global batch of every living lane.

    Return each lane's loss, NaN for the others, and the share of places of the passes that held a token.
    The total is the *sum* of the lanes' losses, so that their gradients never mix. Each loss is the sum over this
    rank's answer tokens over the number in the lane's whole batch, times the ranks, whose gradients are averaged.
    """
    sums_L = torch.zeros(len(lanes), dtype=torch.float64)
    answers_L = torch.tensor([lane.tokens()[1] if lane.living else 1 for lane in lanes])
    passes = _passes(engine, lanes, optim, most)
    tokens = places = 0
    with engine.accumulating():
        for number, (row_places, shares, present) in enumerate(passes):
            packed, lengths = _packed(engine.model, shares)
            with lane_rows(engine.model, [len(rows) for rows in shares], step, lengths, row_places):
                losses_L = _losses(engine, shares, packed) * torch.tensor(present, device=engine.device)
                weight_L = (engine.world / answers_L).to(losses_L)
                engine.backward((losses_L * weight_L).sum(), last=number == len(passes) - 1)
            sums_L += losses_L.detach().double().cpu()
            tokens += sum(len(ids) for rows in shares for ids, _ in rows)
            places += packed.ids_BT.numel()
    means_L = engine.total(sums_L) / answers_L
    losses = [float(loss) if lane.living else math.nan for loss, lane in zip(means_L, lanes, strict=True)]
    return losses, tokens / places


def _passes(
    engine: Engine, lanes: Sequence[_Lane], optim: OptimSpec, most: int
) -> list[tuple[list[int], list[list[Row]], list[float]]]:
    """Return the passes of a step: places of all rows in their lanes' batches, each lane's rows, and 1 or 0 a lane.

    1 is for a lane whose rows count, and 0 for a lane whose rows do not.

    Every rank finds the same passes, for only whole batches decide, and every rank computes all lanes of a pass, for
    ranks reduce gradients lane by lane: where a batch is short and leaves a rank none of its rows, it takes one of them
    and counts it nought.
    """
    found = []
    for micro in range(optim.micro_steps(engine.world)):
        for members in _members(lanes, optim.micro_batch, most):
            own = [_share(engine, lane, optim, micro) if i in members else [] for i, lane in enumerate(lanes)]
            places = [each or ([0] if i in members and engine.world > 1 else []) for i, each in enumerate(own)]
            shares = [
                [lane.rows[lane.batch[place]] for place in each] for lane, each in zip(lanes, places, strict=True)
            ]
            if any(shares):
                found.append((list(chain.from_iterable(places)), shares, [float(bool(each)) for each in own]))
    return found


def _members(lanes: Sequence[_Lane], micro_batch: int, most: int) -> list[list[int]]:
    """Return which living lanes go through the model together."""
    return split_into_passes(
        {
            index: min(micro_batch, len(lane.batch)) * max(len(lane.rows[row][0]) for row in lane.batch)
            for index, lane in enumerate(lanes)
            if lane.living
        },
        most,
    )


def _packed(model: nn.Module, shares: Sequence[Sequence[Row]]) -> tuple[Packed, list[int]]:
    """Return the rows of all lanes as one pass, and what each lane's are padded to."""
    rows = [row for rows in shares for row in rows]
    longest = [max((len(ids) for ids, _ in rows), default=0) for rows in shares]
    if takes_blocks(model):
        lengths = padded_lengths([(len(rows), one) for rows, one in zip(shares, longest, strict=True)])
    else:
        lengths = [max(longest)] * len(shares)
    packed = pack_rows(rows, [length for length, rows in zip(lengths, shares, strict=True) for _ in rows])
    return packed, lengths


def _losses(engine: Engine, shares: Sequence[Sequence[Row]], packed: Packed) -> Tensor:
    """Return the summed loss of each lane's answer tokens, of shape (L,)."""
    device = engine.device
    logits_AV = engine.logits(packed)
    losses_A = answer_losses(logits_AV, packed.wanted_A.to(device))
    lane_B = torch.tensor([lane for lane, rows in enumerate(shares) for _ in rows], device=device)
    return losses_A.new_zeros(len(shares)).index_add(0, lane_B[packed.owner_A.to(device)], losses_A)


def _share(engine: Engine, lane: _Lane, optim: OptimSpec, micro: int) -> Sequence[int]:
    """Return the places in the lane's batch of the rows that this rank takes in this micro step."""
    places = range(len(lane.batch) if lane.living else 0)
    return share(places, micro_batch=optim.micro_batch, micro=micro, rank=engine.rank, world=engine.world)
