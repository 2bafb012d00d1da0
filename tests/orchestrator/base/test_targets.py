"""Targets of a recipe: a target without a layer is refused with targets that have layers; layers left out are named."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

from orchestrator.base.targets import choices, remarks_on_experts, target_layers, unreached
from orchestrator.base.weights import check_layers, check_numbers
from orchestrator.errors import InputError
from orchestrator.recipe.targets import targets_of
from tests.helpers.models.architectures import ARCHITECTURES, architecture
from tests.helpers.models.tiny_llama import tiny_llama

WITHOUT_ANY = {"gpt2": "c_attn (Conv1D)", "falcon": "query_key_value (FalconLinear)"}
WITHOUT_ANY["falcon alibi"] = WITHOUT_ANY["falcon"]


def test_the_sizes_are_out_and_in() -> None:
    assert set(target_layers(tiny_llama(), "*.q_proj,*.down_proj").values()) == {(16, 16), (16, 32)}


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in WITHOUT_ANY])
@pytest.mark.parametrize("targets", ["*.nothing", "lm_head", "*"])
def test_the_choices_that_an_error_gives_can_all_be_taken(name: str, targets: str) -> None:
    model = architecture(name)
    with pytest.raises(InputError) as caught:
        target_layers(model, targets)
    choices = re.findall(r"\*\.\w+", str(caught.value).partition("There are: ")[2])
    assert choices
    for choice in choices:
        look_for(model, choice)


def look_for(model: nn.Module, targets: str) -> None:
    """Look the targets up in the model and check their layers, as a sweep does before it starts."""
    target_layers(model, targets)
    check_layers(model, targets_of(targets))


@pytest.mark.parametrize("name", WITHOUT_ANY)
@pytest.mark.parametrize("targets", ["attention", "*.nothing", "*.lm_head", "lm_head", "*.query_key_value"])
def test_a_model_without_layers_to_adapt_is_refused_for_what_it_is(name: str, targets: str) -> None:
    model = architecture(name)
    with pytest.raises(InputError) as caught:
        look_for(model, targets)
    told = str(caught.value)
    assert f"{type(model).__name__} has no linear layer (nn.Linear) but its head" in told
    assert WITHOUT_ANY[name] in told
    assert "lm_head (" not in told
    assert "There are" not in told
    assert "Load the model" not in told


@pytest.mark.parametrize("name", ["llama", "mistral", "qwen2_moe", "gemma2", "opt"])
def test_the_bases_that_an_error_recommends_have_layers_to_adapt(name: str) -> None:
    told = choices(architecture("gpt2"))
    assert name.rstrip("2").removesuffix("2_moe").lower() in told.lower()
    check_layers(architecture(name), re.findall(r"\*\.\w+", choices(architecture(name))))


def test_experts_that_targets_leave_out_are_named() -> None:
    model = architecture("qwen2_moe")
    (line,) = remarks_on_experts(model, "attention+mlp")
    assert "leaves out 4 fused weights of experts (model.layers.0.mlp.experts.gate_up_proj" in line
    assert remarks_on_experts(model, "attention") == []
    assert remarks_on_experts(tiny_llama(), "attention+mlp") == []


def test_a_model_of_experts_alone_is_told_that_they_are_of_three_dimensions() -> None:
    with pytest.raises(InputError, match=r"There are: \*\.k_proj.*cannot be adapted.*gate_up_proj \(of 3 dimensions\)"):
        target_layers(architecture("gpt_oss"), "attention+mlp")


class WithATower(nn.Module):
    """A model with a part that text does not reach."""

    def __init__(self) -> None:
        super().__init__()
        self.text = nn.ModuleList([nn.ModuleDict({"up": nn.Linear(4, 4), "down": nn.Linear(4, 4)}) for _ in range(2)])
        self.tower = nn.ModuleDict({"up": nn.Linear(4, 4)})
        self.tower.probe = nn.Parameter(torch.zeros(1, 1, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.text:
            x = part["down"](part["up"](x))  # type: ignore[index]
        return x

    def get_output_embeddings(self) -> None:
        """It has no head."""


def test_targets_that_no_row_reaches_are_named_with_a_pattern_that_leaves_them_out() -> None:
    model = WithATower()
    assert remarks_on_experts(model, "*up") == []
    with unreached(model, ["*up"]) as told:
        model(torch.zeros(1, 4))
    (line,) = told
    assert line.startswith("1 of 3 layers that targets name get nothing from these rows (tower.up): ")
    pattern = line.removesuffix(".").rpartition(": ")[2]
    with unreached(model, [pattern]) as told:
        model(torch.zeros(1, 4))
    assert told == []
    assert set(target_layers(model, pattern)) == {"text.0.up", "text.1.up"}
    assert not any(layer._forward_pre_hooks for layer in model.modules())


def test_a_name_without_a_dot_or_star_means_what_it_means_to_the_library() -> None:
    model: Any = tiny_llama()
    assert target_layers(model, "q_proj,v_proj") == target_layers(model, "*.q_proj,*.v_proj")
    assert len(target_layers(model, "q_proj")) == 2
    with unreached(model, ["q_proj"]) as told:
        model(torch.zeros(1, 4, dtype=torch.long))
    assert told == []


class Doubles(nn.Linear):
    """More than a linear layer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


class Named(nn.Linear):
    """A linear layer by another name."""


def test_a_subclass_that_computes_more_than_a_linear_layer_is_refused() -> None:
    model: Any = tiny_llama()
    for kind in (Named, Doubles):
        layer = kind(16, 16)
        model.model.layers[1].self_attn.q_proj = layer
        if kind is Named:
            check_layers(model, ["*.q_proj"])
    check_layers(model, ["*.k_proj"])
    with pytest.raises(
        InputError, match=r"model\.layers\.1\.self_attn\.q_proj is a Doubles that cannot be adapted: its class"
    ) as caught:
        check_layers(model, ["*.q_proj"])
    told = str(caught.value)
    assert "Load the model" not in told
    assert "*.q_proj" not in told
    check_layers(model, re.findall(r"\*\.\w+", told))  # the remedy


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_weight_that_is_not_finite_is_named(value: float) -> None:
    model: Any = tiny_llama()
    check_numbers(model)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 3] = value
    with pytest.raises(InputError, match=r"model\.layers\.1\.mlp\.up_proj\.weight of the base holds numbers that"):
        check_numbers(model)
