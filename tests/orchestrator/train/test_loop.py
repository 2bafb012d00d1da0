"""The loop over lanes: lanes equal solo runs, whatever neighbours do."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import pytest
import torch

import d2lora
from orchestrator.data.tokens import Item
from orchestrator.model.shortcuts import Shortcuts, take
from orchestrator.recipe.sections import OptimSpec
from orchestrator.train import blocks
from orchestrator.train.engine.plain import PlainEngine
from orchestrator.train.lanes import LanePlan, LaneStep
from orchestrator.train.loop import train_lanes
from orchestrator.train.score import accuracy, score_items
from tests.helpers.models.tiny_llama import TARGETS, questions, tiny_llama

OPTIM = OptimSpec(lr=1e-2, epochs=2, micro_batch=4, global_batch=8, warmup=0.1, clip=0.5, weight_decay=0.01)
DATA = {
    "a": questions(21, seed=1),
    "b": questions(11, seed=2),
}  # b ends in batches of 3 rows: fewer than a micro batch, so that a second rank has none


def lane(method: str, seed: int, **settings: object) -> d2lora.Lane:
    return d2lora.Lane(method, d2lora.get_method(method).Config(**({"rank": 3} | settings)), seed)


LANES = [
    (lane("d2lora", 0), "a", 1e-2),
    (lane("d2lora", 1), "b", 3e-3),
    (lane("lora", 2, rank=5), "a", 1e-2),
    (lane("dora", 3), "b", 1e-2),
    (lane("d2lora", 4, norm_axis="in", readd=0, tau="learned"), "a", 1e-3),
]


class Story:
    """What a training told."""

    def __init__(self) -> None:
        self.steps: dict[int, list[LaneStep]] = {}
        self.finished: list[int] = []
        self.diverged: list[int] = []
        self.reached: list[tuple[int, list[int]]] = []

    def on_step(self, done: dict[int, LaneStep]) -> None:
        for index, one in done.items():
            self.steps.setdefault(index, []).append(one)

    def on_end(self, finished: list[int], diverged: list[int]) -> None:
        self.finished += finished
        self.diverged += diverged


def train(
    chosen: list[int],
    poison: int | None = None,
    checkpointing: bool = False,
    stop: dict[int, int] | None = None,
    tokens: int | Literal["auto"] = "auto",
    in_blocks: bool = True,
) -> tuple[PlainEngine, Story]:
    """Train some of `LANES` as one pack in float64; ``poison``: the lane (its place in the pack) whose adapter is NaN
    after two steps. With ``stop``, lanes are scored after every step, and left there where it says (lane -> step)."""
    model = tiny_llama().double()
    take(model, Shortcuts(blocks=in_blocks))
    d2lora.attach_lanes(model, [LANES[index][0] for index in chosen], TARGETS)
    if checkpointing:
        from orchestrator.model.loading import enable_checkpointing

        enable_checkpointing(model)
    engine = PlainEngine(model, len(chosen), OPTIM, torch.device("cpu"))
    plans = [
        LanePlan.of(task, DATA[task], seed=lane_.seed, peak=peak, optim=OPTIM)
        for lane_, task, peak in (LANES[index] for index in chosen)
    ]
    story = Story()

    def on_step(done: dict[int, LaneStep]) -> None:
        story.on_step(done)
        if poison is not None and len(story.steps[poison]) == 2:
            with torch.no_grad():
                next(iter(d2lora.adapter_parameters(model, poison).values())).fill_(float("nan"))

    def on_rung(step: int, reached: list[int]) -> list[int]:
        score_items(engine, {index: questions(5, seed=index) for index in reached}, len(chosen))
        story.reached.append((step, reached))
        return [index for index in reached if (stop or {}).get(index) == step]

    if stop is not None:
        plans = [replace(plan, rungs=tuple(range(1, plan.steps + 1))) for plan in plans]
    train_lanes(engine, plans, OPTIM, on_step=on_step, on_end=story.on_end, on_rung=on_rung, tokens=tokens)
    return engine, story


@pytest.fixture(scope="module")
def solos() -> dict[int, tuple[dict[str, torch.Tensor], list[LaneStep]]]:
    ends = {}
    for index in range(len(LANES)):
        engine, story = train([index])
        ends[index] = (d2lora.adapter_state(engine.model), story.steps[0])
    return ends


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("cost", [0, blocks.COST, None])
def test_every_lane_of_a_mixed_pack_ends_where_its_solo_run_ends(
    solos, checkpointing: bool, cost: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a block for every length, with as many as pay, and with rows padded to one length."""
    monkeypatch.setattr(blocks, "COST", cost)
    engine, story = train(list(range(len(LANES))), checkpointing=checkpointing, in_blocks=cost is not None)
    assert sorted(story.finished) == list(range(len(LANES)))
    for index, (state, steps) in solos.items():
        for name, value in d2lora.adapter_state(engine.model, index).items():
            torch.testing.assert_close(value, state[name], rtol=1e-9, atol=1e-11)
        assert [one.loss for one in story.steps[index]] == pytest.approx([one.loss for one in steps], rel=1e-9)
        assert [one.tokens for one in story.steps[index]] == [one.tokens for one in steps]


def test_rows_of_other_lanes_pad_nothing_where_blocks_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    def utilisation() -> float:
        return train(list(range(len(LANES))))[1].steps[0][0].utilisation

    padded = utilisation()
    monkeypatch.setattr(blocks, "COST", 0)
    assert utilisation() > padded


def test_dropout_in_blocks_is_that_of_a_lane_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "COST", 0)
    monkeypatch.setitem(globals(), "LANES", [*LANES, (lane("lora", 5, dropout=0.3), "a", 1e-2)])
    last = len(LANES) - 1
    (alone, _), (engine, _) = train([last]), train([1, last])
    for name, value in d2lora.adapter_state(engine.model, 1).items():
        torch.testing.assert_close(value, d2lora.adapter_state(alone.model)[name], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("micro_batch", [4, 2])
def test_dropout_is_the_same_in_micro_batches_of_every_size_and_in_every_pack(
    micro_batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropping = [(lane(method, 5 + n, dropout=0.3), "ab"[n], 1e-2) for n, method in enumerate(("lora", "d2lora"))]
    monkeypatch.setitem(globals(), "LANES", [*LANES, *dropping])
    monkeypatch.setitem(globals(), "OPTIM", OPTIM.model_copy(update={"micro_batch": 8}))
    wanted = [d2lora.adapter_state(train([index])[0].model) for index in (5, 6)]
    monkeypatch.setitem(globals(), "OPTIM", OPTIM.model_copy(update={"micro_batch": micro_batch}))
    engine, _ = train([5, 1, 6])
    for place, state in zip((0, 2), wanted, strict=True):
        for name, value in d2lora.adapter_state(engine.model, place).items():
            torch.testing.assert_close(value, state[name], rtol=1e-9, atol=1e-9)


def test_lanes_of_a_short_task_leave_early(solos) -> None:
    assert {index: len(steps) for index, (_, steps) in solos.items()} == {0: 6, 1: 4, 2: 6, 3: 4, 4: 6}


@pytest.mark.parametrize("poison", [0, 2, 4])
def test_neighbours_of_a_lane_that_turns_to_nan_end_where_they_end_alone(solos, poison: int) -> None:
    engine, story = train(list(range(len(LANES))), poison=poison)
    assert story.diverged == [poison]
    assert sorted(story.finished) == [index for index in range(len(LANES)) if index != poison]
    assert len(story.steps[poison]) == 3
    assert math.isnan(story.steps[poison][-1].loss)
    for index in story.finished:
        for name, value in d2lora.adapter_state(engine.model, index).items():
            torch.testing.assert_close(value, solos[index][0][name], rtol=1e-9, atol=1e-11)


def test_being_scored_at_rungs_changes_no_bit_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that survives all of its rungs is the run of a grid: dropout draws the same, norms are held as before."""
    monkeypatch.setitem(globals(), "LANES", [*LANES, (lane("lora", 5, dropout=0.3), "a", 1e-2)])
    chosen = list(range(len(LANES)))
    plain, _ = train(chosen)
    judged, story = train(chosen, stop={})
    assert [step for step, _ in story.reached] == [1, 2, 3, 4, 5]  # six steps: the last is no rung
    assert story.reached[-1] == (5, [0, 2, 4, 5])
    assert sorted(story.finished) == chosen
    for index in chosen:
        for name, value in d2lora.adapter_state(judged.model, index).items():
            assert torch.equal(value, d2lora.adapter_state(plain.model, index)[name]), (index, name)


@pytest.mark.parametrize("stopped", [0, 2, 4])
def test_neighbours_of_a_lane_that_is_stopped_go_on_to_the_last_bit(stopped: int) -> None:
    """Each lane in a pass of its own, so that nothing but the lane that left could make a difference."""
    chosen = list(range(len(LANES)))
    whole, _ = train(chosen, stop={}, tokens=1)
    engine, story = train(chosen, stop={stopped: 2}, tokens=1)
    assert len(story.steps[stopped]) == 2
    assert story.diverged == []
    others = [index for index in chosen if index != stopped]
    assert sorted(story.finished) == others
    for index in others:
        for name, value in d2lora.adapter_state(engine.model, index).items():
            assert torch.equal(value, d2lora.adapter_state(whole.model, index)[name]), (index, name)


def test_lanes_in_one_pass_end_where_they_end_alone_when_others_are_stopped(solos) -> None:
    engine, story = train(list(range(len(LANES))), stop={0: 1, 3: 2})
    assert sorted(story.finished) == [1, 2, 4]
    for index in story.finished:
        for name, value in d2lora.adapter_state(engine.model, index).items():
            torch.testing.assert_close(value, solos[index][0][name], rtol=1e-9, atol=1e-11)


def test_a_lane_that_diverges_at_a_rung_is_not_judged_there() -> None:
    _, story = train(list(range(len(LANES))), poison=2, stop={})
    assert story.diverged == [2]
    assert [reached for step, reached in story.reached if step == 3] == [[0, 1, 3, 4]]


def test_the_loss_falls_and_the_base_is_untouched(solos) -> None:
    engine, story = train([0])
    base = tiny_llama().double().state_dict()
    trained = {name.replace(".weight", ".weight"): value for name, value in engine.model.state_dict().items()}
    assert all(torch.equal(trained[name], value) for name, value in base.items())
    losses = [one.loss for one in story.steps[0]]
    assert losses[-1] < losses[0]


def test_training_twice_gives_the_same_bits(solos) -> None:
    engine, _ = train([0])
    assert all(torch.equal(value, solos[0][0][name]) for name, value in d2lora.adapter_state(engine.model).items())


def test_accumulation_changes_nothing_but_rounding(solos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "OPTIM", OPTIM.model_copy(update={"micro_batch": 2}))
    engine, _ = train([0])
    for name, value in d2lora.adapter_state(engine.model).items():
        torch.testing.assert_close(value, solos[0][0][name], rtol=1e-8, atol=1e-10)


UNEVEN = Item(((1, 2, 3, 4, 5), (1, 2, 6, 7), (1, 2, 3, 8, 9, 9)), (2, 2, 2), 1, (3, 6, 6))


@pytest.mark.parametrize("share", [True, False])
def test_scores_are_those_of_the_whole_model_one_choice_at_a_time(share: bool) -> None:
    """Also where a token spans the border of one choice, so that all begin before their prompt ends."""
    engine, _ = train([0, 1])
    items = [UNEVEN, *questions(8, seed=5)]
    scores = score_items(engine, {0: items, 1: items[:4]}, lanes=2, share=share)
    for index in range(2):
        plain = d2lora.merge(engine.model, index).eval()
        assert len(scores[index]) == (9, 4)[index]
        for item, scored in zip(items, scores[index], strict=False):
            wanted = []
            for ids, start in zip(item.choices, item.starts, strict=True):
                with torch.no_grad():
                    logits_TV = plain(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
                wanted.append(sum(float(logits_TV[t - 1, ids[t]]) for t in range(start, len(ids))))
            assert scored.scores == pytest.approx(wanted, rel=1e-9)
            assert scored.predicted == max(range(3), key=wanted.__getitem__)
            norm = [value / length for value, length in zip(wanted, item.lengths, strict=True)]
            assert scored.predicted_norm == max(range(3), key=norm.__getitem__)
    assert 0 <= accuracy(scores[0]) <= 1
