"""Training, scoring and merging keep to the device that they were given: no tensor of a step is left on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import d2lora
from d2lora.attachment import adapted_layers
from d2lora.products import by_lane_in_float32, in_float32
from orchestrator.model.loading import enable_checkpointing
from orchestrator.recipe.sections import OptimSpec
from orchestrator.train.engine.plain import OneProcess, PlainEngine
from orchestrator.train.lanes import LanePlan
from orchestrator.train.loop import train_lanes
from orchestrator.train.score import score_items
from tests.helpers.models.tiny_llama import TARGETS, questions, tiny_llama
from tests.helpers.one_device import DEVICE, one_device
from tests.orchestrator.train.test_loop import Story, lane

OPTIM = OptimSpec(lr=1e-2, epochs=1, micro_batch=4, global_batch=8, clip=0.5)
PAIRS = {
    "one method, so that lanes are stacked": [lane("d2lora", 0, dropout=0.1), lane("d2lora", 1, dropout=0.1)],
    "two methods, and other ranks": [lane("d2lora", 0, norm_axis="in", dropout=0.1), lane("dora", 1, rank=2)],
}


def adapted(lanes: list[d2lora.Lane], dtype: torch.dtype) -> nn.Module:
    return d2lora.attach_lanes(tiny_llama().to(dtype), lanes, TARGETS)


def train(model: nn.Module) -> tuple[PlainEngine, Story]:
    """Train two lanes for two steps of two micro batches."""
    engine = PlainEngine(model, 2, OPTIM, DEVICE)
    plans = [LanePlan.of("task", questions(11, seed=seed), seed=seed, peak=1e-2, optim=OPTIM) for seed in range(2)]
    story = Story()
    train_lanes(engine, plans, OPTIM, on_step=story.on_step, on_end=story.on_end)
    return engine, story


@pytest.mark.parametrize("checkpointing", [False, True], ids=["float32", "bfloat16 and checkpointing"])
@pytest.mark.parametrize("lanes", PAIRS.values(), ids=PAIRS)
def test_a_step_scoring_and_a_merge_stay_on_their_device(
    lanes: list[d2lora.Lane], checkpointing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (in_float32, by_lane_in_float32):  # in bfloat16, take the products that a GPU takes
        monkeypatch.setattr(module, "on_tensor_cores", lambda narrow: narrow.dtype == torch.bfloat16)
    model = adapted(lanes, torch.bfloat16 if checkpointing else torch.float32)
    if checkpointing:
        enable_checkpointing(model)
    asked = {0: questions(3, seed=5), 1: questions(2, seed=6)}
    with one_device() as mode:
        engine, story = train(model)
        for share in (True, False):
            assert len(score_items(engine, asked, 2, share=share)[0]) == 3
        merged = d2lora.merge(model, 1)
        assert len(score_items(OneProcess(merged, DEVICE), {0: asked[1]}, 0)[0]) == 2
    assert story.finished == [0, 1]
    assert [len(steps) for steps in story.steps.values()] == [2, 2]
    assert mode.operations > 1000  # it did look
    assert {tensor.device for tensor in [*model.state_dict().values(), *merged.state_dict().values()]} == {DEVICE}


def in_forward(model: nn.Module) -> None:
    layer = next(iter(adapted_layers(model).values()))
    layer.register_forward_hook(lambda module, inputs, output: output + torch.zeros(output.shape[-1]))


def in_backward(model: nn.Module) -> None:
    layer = next(iter(adapted_layers(model).values()))

    def left_behind(module: nn.Module, inputs: Any, output: Tensor) -> None:
        output.register_hook(lambda gradient: gradient * torch.ones(gradient.shape[-1]))

    layer.register_forward_hook(left_behind)


def in_a_matrix_product(model: nn.Module) -> None:
    """An operation that takes any mixture on the meta device itself."""
    layer = next(iter(adapted_layers(model).values()))
    layer.register_forward_hook(lambda module, inputs, output: output @ torch.eye(output.shape[-1]).to(output.dtype))


def in_dropout(model: nn.Module) -> None:
    for layer in adapted_layers(model).values():
        layer._dropped = lambda x_MI, extents: x_MI * torch.ones(x_MI.shape, dtype=torch.bool)


@pytest.mark.parametrize("plant", [in_forward, in_backward, in_a_matrix_product, in_dropout])
def test_a_tensor_that_is_left_on_the_cpu_is_noticed(plant: Callable[[nn.Module], None]) -> None:
    model = adapted(PAIRS["one method, so that lanes are stacked"], torch.float32)
    plant(model)
    with (
        one_device(),
        pytest.raises(RuntimeError, match=r"same device, but aten\.\w+\.\w+ got (meta|cpu) .*(meta|cpu)"),
    ):
        train(model)
