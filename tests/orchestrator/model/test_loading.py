"""The door to transformers refuses what it cannot use, in words, and loads a base whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from orchestrator.errors import InputError
from orchestrator.model.loading import load_model, sketch
from tests.helpers.models.tiny_llama import tiny_llama

Tensors = dict[str, Tensor]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("{}", "ValueError: Unrecognized model in"),
        ("not json", "OSError: It looks like the config file"),
        ('{"model_type": "llamma"}', "ValueError: .*model type `llamma`"),
        ('{"model_type": "t5"}', "ValueError: Unrecognized configuration class"),
        ('{"model_type": "llama", "hidden_act": "sillu"}', "KeyError: 'sillu'"),
        ('{"model_type": "llama", "hidden_size": "wide"}', "Validation error for field 'hidden_size': .*got str"),
        ('{"model_type": "llama", "num_attention_heads": 0}', "ZeroDivisionError"),
    ],
)
def test_a_config_that_makes_no_model_is_refused_with_its_path_and_the_reason(
    config: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(InputError, match=f"{tmp_path} holds no causal language model .*{reason}") as caught:
        sketch(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def another_prefix(tensors: Tensors) -> Tensors:
    return {name.replace("model.", "transformer."): tensor for name, tensor in tensors.items()}


def one_missing(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if name != "model.layers.1.mlp.up_proj.weight"}


def one_more(tensors: Tensors) -> Tensors:
    return tensors | {"model.layers.1.self_attn.q_proj.bias": torch.zeros(16)}


def a_layer_more(tensors: Tensors) -> Tensors:
    return tensors | {name.replace("layers.1", "layers.2"): tensor.clone() for name, tensor in tensors.items()}


def another_shape(tensors: Tensors) -> Tensors:
    return tensors | {"model.layers.0.mlp.up_proj.weight": torch.zeros(40, 16)}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (another_prefix, r"20 missing: model\.embed_tokens.*20 unknown: transformer\."),
        (one_missing, r"1 missing: model\.layers\.1\.mlp\.up_proj\.weight\."),
        (one_more, r"1 unknown: model\.layers\.1\.self_attn\.q_proj\.bias\."),
        (a_layer_more, r"9 unknown: model\.layers\.2\."),
        (another_shape, r"1 of another shape: model\.layers\.0\.mlp\.up_proj\.weight \(40, 16\) for \(32, 16\)\."),
    ],
)
def test_weights_that_are_not_the_models_are_refused_by_name(
    change: Callable[[Tensors], Tensors], told: str, tmp_path: Path
) -> None:
    model = tiny_llama()
    model.save_pretrained(tmp_path)  # type: ignore[operator]
    load_model(tmp_path)
    weights = tmp_path / "model.safetensors"
    save_file(change(load_file(weights)), weights, {"format": "pt"})
    with pytest.raises(InputError, match=f"the weights are not those of LlamaForCausalLM.*{told}"):
        load_model(tmp_path)
    model.save_pretrained(tmp_path)  # type: ignore[operator] - the remedy
    load_model(tmp_path)


def test_a_tied_head_is_not_missing(tmp_path: Path) -> None:
    tiny_llama().save_pretrained(tmp_path)  # type: ignore[operator]
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    weights = tmp_path / "model.safetensors"
    save_file({name: one for name, one in load_file(weights).items() if "lm_head" not in name}, weights)
    load_model(tmp_path)
