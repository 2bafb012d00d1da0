"""Prepared rows against the model's tables: tokens and places that it does not have end a sweep before it starts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from orchestrator.base.rows import fit_rows
from orchestrator.data.tokens import Item, TokenisedSplit
from orchestrator.errors import InputError
from orchestrator.model.shortcuts import choose_shortcuts
from tests.helpers.models.architectures import LOUD, architecture, model_of


class Words:
    """A tokenizer that can name its tokens."""

    def convert_ids_to_tokens(self, number: int) -> str:
        return f"word{number}"


def rows(length: int, largest: int = 49, end: tuple[int, ...] = ()) -> dict[str, TokenisedSplit]:
    ids = [3] * (length - 1) + [largest]
    return {"task": TokenisedSplit.of([Item((tuple(ids), (3, 4)), (1, 1), 0, (1, 1), end)])}


def test_a_token_without_a_row_is_told_with_both_numbers() -> None:
    assert fit_rows(architecture("llama"), rows(4), Words()) == []
    with pytest.raises(
        InputError, match=r"task has token 50 \('word50'\), and the embedding of LlamaForCausalLM has 50"
    ):
        fit_rows(architecture("llama"), rows(4, largest=50), Words())


def test_an_end_that_is_trained_needs_a_row_of_the_embedding_and_a_position_like_every_token() -> None:
    assert fit_rows(architecture("llama"), rows(4, end=(49,)), Words()) == []
    with pytest.raises(InputError, match=r"task has token 50 \('word50'\), and the embedding"):
        fit_rows(architecture("llama"), rows(4, end=(50,)), Words())
    for model in (learned("gpt2"), rotary("dynamic"), rotary("longrope")):
        fits = 32 if model.config.model_type == "gpt2" else 16
        assert fit_rows(model, rows(fits - 1, end=(2,)), Words()) == []
        with pytest.raises(InputError, match=rf"a row of {fits + 1} tokens.*data\.max_length={fits} cuts"):
            fit_rows(model, rows(fits, end=(2,)), Words())
    (line,) = fit_rows(model_of("llama", max_position_embeddings=16), rows(16, end=(2,)), Words())
    assert "a row of 17 tokens" in line


def learned(name: str) -> nn.Module:
    """Return a model that has learned 32 positions."""
    return {
        "opt": lambda: architecture("opt"),
        "gpt2": lambda: model_of("gpt2", n_embd=16, n_head=4, n_layer=1, n_positions=32),
        "gpt_bigcode": lambda: model_of("gpt_bigcode", n_embd=16, n_head=4, n_layer=1, n_positions=32),
        "gpt_neo": lambda: model_of(
            "gpt_neo", num_layers=2, num_heads=4, attention_types=[[["global"], 2]], max_position_embeddings=32
        ),
        "biogpt": lambda: model_of("biogpt", max_position_embeddings=32, num_hidden_layers=1),
    }[name]()


@pytest.mark.parametrize("name", ["opt", "gpt2", "gpt_bigcode", "gpt_neo", "biogpt"])
def test_a_row_beyond_learned_positions_is_refused_with_a_length_that_fits(name: str) -> None:
    model = learned(name)
    with pytest.raises(InputError, match=r"a row of 33 tokens, and \w+ has learned 32 positions\. data\.max_length=32"):
        fit_rows(model, rows(33), Words())
    assert fit_rows(model, rows(32), Words()) == []
    choose_shortcuts(model, rows(32))


@pytest.mark.parametrize("name", ["gptj", "codegen"])
def test_a_row_that_the_models_own_code_cannot_take_is_refused_whatever_the_reason(name: str) -> None:
    """Their tables of rotary positions are no layer that one could know by its class."""
    model = model_of(name, n_embd=16, n_head=4, n_layer=1, n_positions=32, rotary_dim=2)
    choose_shortcuts(model, rows(32))
    with pytest.raises(InputError, match=r"cannot compute a row of 33 tokens: \w+Error: .* Lower data\.max_length"):
        choose_shortcuts(model, rows(33))
    with pytest.raises(InputError, match=r"cannot compute a row of 33 tokens"):
        choose_shortcuts(model, rows(32, end=(2,)))


def test_a_row_beyond_what_rotary_positions_were_made_for_is_told() -> None:
    model = model_of("llama", max_position_embeddings=16)
    (line,) = fit_rows(model, rows(17), Words())
    assert "task has a row of 17 tokens, and LlamaForCausalLM was made for 16 positions" in line
    assert fit_rows(model, rows(16), Words()) == []
    assert fit_rows(architecture("falcon alibi"), rows(4000), Words()) == []


def rotary(kind: str) -> Any:
    settings: dict[str, Any] = {"rope_type": kind, "rope_theta": 10000.0}
    if kind == "longrope":
        settings |= {"short_factor": [1.0, 1.0], "long_factor": [4.0, 8.0]}
    if kind == "dynamic":
        settings |= {"factor": 4.0}
        return model_of("llama", rope_parameters=settings, max_position_embeddings=16, **LOUD)
    places = {"max_position_embeddings": 64, "original_max_position_embeddings": 16}
    return model_of("phi3", rope_parameters=settings, **places, **LOUD)


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_rotations_that_the_longest_row_of_a_pass_chooses_are_refused_where_a_row_is_long_enough(kind: str) -> None:
    model = rotary(kind)
    ids_BT = torch.randint(0, 50, (1, 17), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        longer_TV = model(input_ids=ids_BT).logits[0, :8]
        own_TV = model(input_ids=ids_BT[:, :8]).logits[0]
    assert (longer_TV - own_TV).abs().max() > 1e-3  # a token's logits depend on what comes after it
    with pytest.raises(InputError, match=r"a row of 17 tokens.*rotates all rows.*data\.max_length=16 cuts"):
        fit_rows(model, rows(17), Words())
    assert fit_rows(model, rows(16), Words()) == []
