"""Shapes without torch, against the models that transformers makes of the same configurations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from orchestrator.errors import InputError
from orchestrator.estimate.model_shapes import PUBLISHED, ModelShape, shape_of, tiny_shape
from orchestrator.recipe.sections import ModelSpec
from orchestrator.recipe.targets import targets_of
from orchestrator.tiny import TinySettings

SIZES = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 500,
}
CONFIGS = [
    {"model_type": "llama", "tie_word_embeddings": True},
    {"model_type": "llama", "tie_word_embeddings": False, "attention_bias": True, "mlp_bias": True, "head_dim": 16},
    {"model_type": "mistral", "tie_word_embeddings": False},
    {"model_type": "qwen2", "tie_word_embeddings": False},
    {"model_type": "qwen3", "tie_word_embeddings": True, "head_dim": 16},
    {"model_type": "qwen3", "tie_word_embeddings": False, "head_dim": 16, "attention_bias": True},
]


def directory(place: Path, config: dict[str, Any]) -> str:
    (place / "config.json").write_text(json.dumps(SIZES | config))
    return str(place)


def made(path: str) -> nn.Module:
    """Return the model that transformers makes of a directory's config.json, without memory for its weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(path))
    assert isinstance(model, nn.Module)
    return model


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: "-".join(map(str, config.values())))
def test_parameters_and_layers_are_those_of_transformers(config: dict[str, Any], tmp_path: Path) -> None:
    path = directory(tmp_path, config)
    shape, origin = shape_of(ModelSpec(path=path))
    model = made(path)
    assert shape is not None
    assert origin == str(tmp_path / "config.json")
    assert shape.parameters() == sum(parameter.numel() for parameter in model.parameters())
    linears = {name: one for name, one in model.named_modules() if isinstance(one, nn.Linear)}
    assert shape.linears() == {name: (one.out_features, one.in_features) for name, one in linears.items()}


def test_the_tiny_base_on_disk_has_the_shape_of_its_settings(small_base: Path) -> None:
    shape, _ = shape_of(ModelSpec(path=str(small_base)))
    assert shape == tiny_shape(TinySettings()) == shape_of(ModelSpec())[0]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [  # as the hub counts them in the published weights
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 134_515_008),
        ("meta-llama/Llama-3.2-3B-Instruct", 3_212_749_824),
        ("Qwen/Qwen2.5-7B-Instruct", 7_615_616_512),
    ],
)
def test_published_shapes_have_the_published_number_of_parameters(name: str, parameters: int) -> None:
    shape, origin = shape_of(ModelSpec(name=name))
    assert shape == PUBLISHED[name]
    assert shape.parameters() == parameters
    assert origin == "its published configuration"


def test_patterns_choose_layers_as_attach_does(tmp_path: Path) -> None:
    from d2lora import match_targets

    path = directory(tmp_path, CONFIGS[0])
    shape, _ = shape_of(ModelSpec(path=path))
    assert shape is not None
    for targets in ("attention", "attention+mlp", "*.layers.1.*,*.o_proj", "*", "o_proj,lm_head"):
        assert list(shape.targets(targets_of(targets))) == match_targets(made(path), targets_of(targets))


def test_a_pattern_that_matches_nothing_is_refused_with_what_there_is() -> None:
    with pytest.raises(InputError, match=r"'\*.qproj' matches no linear layer of the model. There are: down_proj, "):
        tiny_shape(TinySettings()).targets(["*.qproj"])


def test_a_model_that_nobody_has_described_is_unknown_until_it_is_fetched(tmp_path: Path) -> None:
    shape, note = shape_of(ModelSpec(name="somebody/new"))
    assert shape is None
    assert note.startswith("The shape of somebody/new is unknown until it is fetched")
    shape, note = shape_of(ModelSpec(path=directory(tmp_path, {"model_type": "mamba"})))
    assert shape is None
    assert "model_type 'mamba'; the plan knows the shapes of llama, mistral, qwen2, qwen3" in note


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "is missing or is not JSON"),
        ("[]", "is missing or is not JSON"),
        ('{"model_type": "llama"}', "hidden_size is None; a whole number of 1 or more is needed"),
        (json.dumps(SIZES | {"model_type": "llama", "vocab_size": 0}), "vocab_size is 0; a whole number"),
        (json.dumps(SIZES | {"model_type": "llama", "num_hidden_layers": "3"}), "num_hidden_layers is '3'"),
    ],
)
def test_a_directory_without_a_usable_configuration_is_refused(
    config: str | None, message: str, tmp_path: Path
) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(InputError, match=message):
        shape_of(ModelSpec(path=str(tmp_path)))


def test_a_path_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is not a directory with a model"):
        shape_of(ModelSpec(path=str(tmp_path / "nowhere")))


def test_heads_of_their_own_width_do_not_have_to_fill_the_hidden_size() -> None:
    shape = ModelShape(48, 96, 1, 4, 2, 16, 10, tied=True)
    assert shape.linears()["model.layers.0.self_attn.q_proj"] == (64, 48)
    assert shape.linears()["model.layers.0.self_attn.o_proj"] == (48, 64)
