"""The loop over lanes: it knows batches, losses and engines, and neither Ray nor MLflow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np
import torch

from d2lora import lane_rows
from orchestrator.data.tokens import Item
from orchestrator.model.shortcuts import takes_blocks
from orchestrator.model.token_batch import AnswerRow
from orchestrator.recipe.sections import OptimSpec
from orchestrator.train.answer_loss import answer_losses
from orchestrator.train.engine.engine import Engine
from orchestrator.train.lanes import LanePlan, LaneStep, _Lane, _lane, _rate
from orchestrator.train.pass_size import PassSize, Summed, within_pass
from orchestrator.train.step_passes import LaneBatch, Layout, passes_of_step, sent


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
    rows = {id(plan.items): trained_rows(plan.items) for plan in plans}  # lanes of one task share them
    lanes = [_lane(plan, rows[id(plan.items)], optim) for plan in plans]
    size = PassSize(tokens, optim.micro_batch, engine)
    engine.model.train()
    step = 0
    while living := [index for index, lane in enumerate(lanes) if lane.living]:
        for index in living:
            lanes[index].batch = LaneBatch.of([lanes[index].rows[row] for row in next(lanes[index].batches)])
        compute = partial(_accumulate, engine, lanes, optim, step)
        longest = max(len(ids) for index in living for ids, _ in lanes[index].batch.rows)
        losses_L, utilisation, _ = size.fitted(compute, longest, len(living))
        rates = [_rate(lane, step, optim) if lane.living else None for lane in lanes]
        norms, losses = engine.step(rates, losses_L)
        done = {
            index: LaneStep(
                step=step,
                loss=losses[index] / lane.batch.answers,
                rate=rates[index] or 0.0,
                grad_norm=norms[index],
                tokens=sum(len(ids) for ids, _ in lane.batch.rows),
                utilisation=utilisation,
            )
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


def trained_rows(items: Sequence[Item]) -> list[AnswerRow]:
    """Return the row of each item that is trained, in four bytes a token."""
    return [(np.array(ids, np.int32), start) for ids, start in (item.trained() for item in items)]


def _accumulate(
    engine: Engine, lanes: Sequence[_Lane], optim: OptimSpec, step: int, most: int, micro_batch: int
) -> Summed:
    """Add up the gradients of one global batch of every living lane, in passes of at most ``most`` tokens.

    Each lane's loss is summed over this rank's answer tokens, on the device. The total is the *sum* of the lanes'
    losses, so that their gradients never mix.
    """
    in_blocks = takes_blocks(engine.model)
    micro_steps = optim.global_batch // (micro_batch * engine.world)
    layout = Layout(engine.rank, engine.world, micro_batch, micro_steps, most, in_blocks)
    batches = {index: lane.batch for index, lane in enumerate(lanes) if lane.living}
    passes = sent(passes_of_step(batches, len(lanes), layout), engine.device)
    sums_L = torch.zeros(len(lanes), dtype=torch.float64, device=engine.device)
    with engine.accumulating():
        for one in passes:
            with within_pass(), lane_rows(engine.model, one.counts, step, one.lengths, one.places):
                losses_A = answer_losses(engine.logits(one.packed), one.packed.wanted_A)
                losses_L = losses_A.new_zeros(len(lanes)).index_add(0, one.lane_A, losses_A)
                (losses_L * one.weight_L.to(losses_L.dtype)).sum().backward()  # type: ignore[no-untyped-call]
            sums_L += losses_L.detach() * one.counted_L
    places = [one.packed.ids_BT.numel() for one in passes]
    return Summed(sums_L, sum(one.tokens for one in passes) / sum(places), max(places))
