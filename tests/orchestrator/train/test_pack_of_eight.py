"""Eight lanes of mixed tasks, methods, ranks and rates over 50 steps: each ends with the adapter of its solo run."""

from __future__ import annotations

import pytest
import torch

import d2lora
from orchestrator.data.tokens import Item
from orchestrator.model.shortcuts import Shortcuts, take
from orchestrator.recipe.sections import OptimSpec
from orchestrator.train.engine.plain import PlainEngine
from orchestrator.train.lanes import LanePlan, LaneStep
from orchestrator.train.loop import train_lanes
from tests.helpers.models.tiny_llama import TARGETS, questions, tiny_llama

STEPS, POISONED, SHORT = 50, 3, 6
OPTIM = OptimSpec(lr=1e-3, epochs=10, micro_batch=8, global_batch=8, warmup=0.1, clip=1.0)
DATA = {"a": questions(40, seed=1), "b": questions(40, seed=2), "short": questions(16, seed=3)}
# relative to the adapter's tensor as a whole; float32 keeps 24 bits and Adam's first steps divide by tiny moments
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}


def lane(method: str, seed: int, **settings: object) -> d2lora.Lane:
    return d2lora.Lane(method, d2lora.get_method(method).Config(**({"rank": 4} | settings)), seed)


LANES = [
    (lane("d2lora", 0), "a", 1e-3),
    (lane("lora", 1, rank=8), "a", 3e-4),
    (lane("d2lora", 2, norm_axis="in"), "b", 1e-3),
    (lane("dora", 3, rank=8), "a", 1e-3),
    (lane("d2lora", 4, rank=2, readd=0), "b", 2e-3),
    (lane("d2lora", 5, projection="off"), "a", 5e-4),
    (lane("dora", 6, norm_grad="through"), "short", 1e-3),
    (lane("lora", 7, rank=2), "b", 1e-3),
]


def train(chosen: list[int], dtype: torch.dtype, poison: bool) -> tuple[dict[int, dict[str, torch.Tensor]], list[int]]:
    """Return the adapters of the lanes that finished and which diverged; ``poison``: one turns to NaN at step 10."""
    model = tiny_llama(hidden=32).to(dtype)
    take(model, Shortcuts(blocks=True))
    d2lora.attach_lanes(model, [LANES[index][0] for index in chosen], TARGETS)
    engine = PlainEngine(model, len(chosen), OPTIM, torch.device("cpu"))
    plans = [_plan(*LANES[index]) for index in chosen]
    states: dict[int, dict[str, torch.Tensor]] = {}
    left: list[int] = []

    def on_step(done: dict[int, LaneStep]) -> None:
        if poison and any(one.step == 9 for one in done.values()) and not left:
            with torch.no_grad():
                next(iter(d2lora.adapter_parameters(model, chosen.index(POISONED)).values())).fill_(float("nan"))

    def on_end(finished: list[int], diverged: list[int]) -> None:
        left.extend(chosen[index] for index in diverged)
        states.update((chosen[index], d2lora.adapter_state(model, index)) for index in finished)

    train_lanes(engine, plans, OPTIM, on_step=on_step, on_end=on_end)
    return states, left


def _plan(one: d2lora.Lane, task: str, peak: float) -> LanePlan:
    items: list[Item] = DATA[task]
    return LanePlan.of(task, items, seed=one.seed, peak=peak, optim=OPTIM)


@pytest.fixture(scope="module", params=[torch.float64, torch.float32], ids=["float64", "float32"])
def solos(request: pytest.FixtureRequest) -> tuple[torch.dtype, dict[int, dict[str, torch.Tensor]]]:
    return request.param, {index: train([index], request.param, False)[0][index] for index in range(len(LANES))}


def test_the_lanes_are_what_the_title_says() -> None:
    steps = [_plan(*one).steps for one in LANES]
    assert steps == [20 if index == SHORT else STEPS for index in range(8)]


@pytest.mark.parametrize("poison", [False, True], ids=["all well", "one turns to NaN at step 10"])
def test_each_lane_of_a_pack_of_eight_ends_with_the_adapter_of_its_solo_run(solos, poison: bool) -> None:
    dtype, alone = solos
    states, left = train(list(range(8)), dtype, poison)
    assert left == ([POISONED] if poison else [])
    assert states.keys() == {*range(8)} - {*left}
    worst = {
        index: max(
            float((value - alone[index][name]).norm() / alone[index][name].norm()) for name, value in one.items()
        )
        for index, one in states.items()
    }
    assert max(worst.values()) <= TOLERANCE[dtype], worst
