"""The training loop: one optimizer step of all lanes after another, until every lane has ended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal

from orchestrator.recipe.sections import OptimSpec
from orchestrator.train.accumulate import StepLosses, accumulate
from orchestrator.train.engine.engine import Engine
from orchestrator.train.lanes import Lane, LanePlan, LaneStep, lanes_of
from orchestrator.train.pass_size import PassSize
from orchestrator.train.saving import Saving, Wish, agreed_wish, wish_riders
from orchestrator.train.step_passes import StepCut

OnStep = Callable[[dict[int, LaneStep]], None]
OnEnd = Callable[[list[int], list[int]], None]
OnRung = Callable[[int, list[int]], Collection[int]]


def train_lanes(  # noqa: PLR0913 - three callbacks of one training
    engine: Engine,
    plans: Sequence[LanePlan],
    optim: OptimSpec,
    *,
    on_step: OnStep,
    on_end: OnEnd,
    on_rung: OnRung | None = None,
    tokens: int | Literal["auto"] = "auto",
    saving: Saving | None = None,
) -> None:
    """Train every lane to its own end, in passes of whole lanes with about ``tokens`` tokens each.

    ``on_step`` gets the record of each lane after each step, by the lane's number. ``on_end`` gets the numbers of the
    lanes that leave, as (finished, diverged): a lane diverges at the first loss or gradient that is not finite; it is
    not stepped again, and its neighbours go on unchanged. After that ``on_rung`` gets the number of steps done and the
    lanes for which this number is a rung, and returns the lanes that stop there. The last step of a lane is no rung.

    ``saving`` saves lanes when it wishes, and saves the lanes that stay where others may leave, so that a resumed pack
    has the same lanes in each of its steps. Lanes are saved between a step and what follows the step (ends, rungs). So
    where lanes go on after a step, the ends and rungs of that step come first.
    """
    living = lanes_of(plans, optim)
    size = PassSize(tokens, optim.micro_batch, engine)
    engine.model.train()
    _leave(living, [], on_end, on_rung)
    while living:
        records, wish = _step(engine, living, len(plans), optim, size, saving)
        on_step(records)
        diverged = [index for index, record in records.items() if record.diverged]
        for index in diverged:
            del living[index]
        if saving:
            _save(living, bool(diverged), wish, saving)
        _leave(living, diverged, on_end, on_rung)


def _save(living: Mapping[int, Lane], left: bool, wish: Wish, saving: Saving) -> None:
    """Save all lanes if the ranks wish so; else, if a lane has left or may leave now, the lanes that stay."""
    staying = [index for index, lane in living.items() if lane.done < lane.plan.steps]
    may_leave = left or len(staying) < len(living) or bool(_at_rung(living))
    if wish:
        saving.save(list(living))
    elif may_leave and staying:
        saving.save(staying)
    if wish is Wish.STOP:
        saving.stop()


def _leave(living: dict[int, Lane], diverged: list[int], on_end: OnEnd, on_rung: OnRung | None) -> None:
    """End the lanes that have done their last step or diverged in it, then judge the lanes that are at a rung."""
    finished = [index for index, lane in living.items() if lane.done == lane.plan.steps]
    for index in finished:
        del living[index]
    if diverged or finished:
        on_end(finished, diverged)
    if on_rung:
        for step, reached in _at_rung(living).items():
            for index in on_rung(step, reached):
                del living[index]


def _at_rung(living: Mapping[int, Lane]) -> dict[int, list[int]]:
    """Return the lanes that are at a rung, by the number of steps that they have done."""
    reached: dict[int, list[int]] = {}
    for index, lane in living.items():
        if lane.done in lane.plan.rungs and lane.done < lane.plan.steps:
            reached.setdefault(lane.done, []).append(index)
    return reached


def _step(
    engine: Engine, living: Mapping[int, Lane], lanes: int, optim: OptimSpec, size: PassSize, saving: Saving | None
) -> tuple[dict[int, LaneStep], Wish]:
    """Take one optimizer step of the ``living`` lanes; the pack has ``lanes`` lanes.

    Return the record of each lane, and the wish on which the ranks agree. The wish is asked as late as the ranks can
    still agree on it: a trainer that is told to stop has little time.
    """
    batches = {index: lane.next_batch() for index, lane in living.items()}
    draws = [living[index].done if index in living else 0 for index in range(lanes)]

    def compute(most: int, micro_batch: int) -> StepLosses:
        return accumulate(engine, batches, draws, StepCut.of(engine, optim.global_batch, micro_batch, most))

    summed = size.fitted(compute, max(batch.longest for batch in batches.values()), len(living))
    rates = {index: lane.rate(optim) for index, lane in living.items()}
    wish = saving.wish() if saving else Wish.NOTHING
    norms, totals = engine.step([rates.get(index) for index in range(lanes)], wish_riders(wish, summed.losses_L))
    records = {
        index: LaneStep(
            step=living[index].done,
            loss=totals[index] / batch.answer_tokens,
            rate=rates[index],
            grad_norm=norms[index],
            tokens=batch.tokens,
            utilisation=summed.utilisation,
            micro_batch=size.micro_batch,
        )
        for index, batch in batches.items()
    }
    for lane in living.values():
        lane.done += 1
    return records, agreed_wish(totals)
