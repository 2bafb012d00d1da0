"""The training loop: one optimizer step of all lanes after another, until every lane has ended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal

from orchestrator.recipe.sections import OptimSpec
from orchestrator.train.accumulate import StepLosses, accumulate
from orchestrator.train.engine.engine import Engine
from orchestrator.train.lanes import Lane, LanePlan, LaneStep, lanes_of
from orchestrator.train.pass_size import PassSize
from orchestrator.train.step_passes import StepCut


def train_lanes(
    engine: Engine,
    plans: Sequence[LanePlan],
    optim: OptimSpec,
    *,
    on_step: Callable[[dict[int, LaneStep]], None],
    on_end: Callable[[list[int], list[int]], None],
    on_rung: Callable[[int, list[int]], Collection[int]] | None = None,
    tokens: int | Literal["auto"] = "auto",
) -> None:
    """Train every lane to its own end, in passes of whole lanes with about ``tokens`` tokens each.

    ``on_step`` gets the record of each lane after each step, by the lane's number. ``on_end`` gets the numbers of the
    lanes that leave, as (finished, diverged): a lane diverges at the first loss or gradient that is not finite; it is
    not stepped again, and its neighbours go on unchanged. After that ``on_rung`` gets the number of steps done and the
    lanes for which this number is a rung, and returns the lanes that stop there. The last step of a lane is no rung.
    """
    living = dict(enumerate(lanes_of(plans, optim)))
    size = PassSize(tokens, optim.micro_batch, engine)
    engine.model.train()
    step = 0
    while living:
        done = _step(engine, living, len(plans), step, optim, size)
        on_step(done)
        step += 1
        diverged = [index for index, record in done.items() if record.diverged]
        finished = [index for index, lane in living.items() if step == lane.plan.steps and index not in diverged]
        for index in (*diverged, *finished):
            del living[index]
        if diverged or finished:
            on_end(finished, diverged)
        at_rung = [index for index, lane in living.items() if step in lane.plan.rungs]
        for index in on_rung(step, at_rung) if on_rung and at_rung else ():
            del living[index]


def _step(
    engine: Engine, living: Mapping[int, Lane], lanes: int, step: int, optim: OptimSpec, size: PassSize
) -> dict[int, LaneStep]:
    """Take one optimizer step of the ``living`` lanes; the pack has ``lanes`` lanes. Return the record of each lane."""
    batches = {index: lane.next_batch() for index, lane in living.items()}

    def compute(most: int, micro_batch: int) -> StepLosses:
        return accumulate(engine, batches, lanes, step, StepCut.of(engine, optim.global_batch, micro_batch, most))

    summed = size.fitted(compute, max(batch.longest for batch in batches.values()), len(living))
    rates = {index: lane.rate(step, optim) for index, lane in living.items()}
    norms, losses = engine.step([rates.get(index) for index in range(lanes)], summed.losses_L)
    return {
        index: LaneStep(
            step=step,
            loss=losses[index] / batch.answer_tokens,
            rate=rates[index],
            grad_norm=norms[index],
            tokens=batch.tokens,
            utilisation=summed.utilisation,
        )
        for index, batch in batches.items()
    }
