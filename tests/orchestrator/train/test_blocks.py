"""Blocks of rows: the cheapest cut, the layout, and models that compute in them what they compute of padded rows."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

import d2lora
from d2lora.methods.lora import LoraConfig
from orchestrator.data.tokens import TokenisedSplit
from orchestrator.model.answer_model import AnswerModel
from orchestrator.model.block_attention import PLAIN
from orchestrator.model.shortcuts import Shortcuts, choose_shortcuts, take, takes_blocks
from orchestrator.model.token_batch import AnswerRow, batch_rows
from orchestrator.train import blocks
from orchestrator.train.blocks import padded_lengths
from tests.helpers.models.architectures import model_of
from tests.helpers.models.tiny_llama import questions, tiny_llama

ROWS: list[AnswerRow] = [(tuple(range(5, 5 + length)), 2) for length in (7, 7, 4, 4, 4, 9)]


def allow_blocks(model: nn.Module) -> bool:
    """Let the model take blocks if it computes the same with them; return whether."""
    take(model, choose_shortcuts(model, {"task": TokenisedSplit.of(questions(5))}))
    return takes_blocks(model)


def why_not(model: nn.Module) -> str:
    return " ".join(choose_shortcuts(model, {"task": TokenisedSplit.of(questions(5))}).remarks)


def cost(lanes: Sequence[tuple[int, int]], lengths: Sequence[int]) -> int:
    """What a cut costs: places, and `COST` for each block; more than any if a row does not fit."""
    if any(longest > length for (_, longest), length in zip(lanes, lengths, strict=True)):
        return 10**9
    number = len(list(itertools.groupby(lengths)))
    return sum(rows * length for (rows, _), length in zip(lanes, lengths, strict=True)) + blocks.COST * number


def test_the_cut_is_the_cheapest_of_all() -> None:
    draw = random.Random(0)
    for _ in range(200):
        lanes = [(draw.randint(1, 3), draw.choice([5, 9, 11, 30])) for _ in range(draw.randint(1, 5))]
        cheapest = min(cost(lanes, cut) for cut in itertools.product([5, 9, 11, 30], repeat=len(lanes)))
        assert cost(lanes, padded_lengths(lanes)) == cheapest


def test_lanes_without_rows_cost_nothing() -> None:
    assert padded_lengths([(0, 0), (2, 8), (0, 0), (2, 8), (0, 0)]) == [8] * 5
    assert padded_lengths([]) == []


def test_rows_of_one_length_are_a_rectangle() -> None:
    token_batch = batch_rows(ROWS[:2], [7, 7])
    assert token_batch.ids_BT.shape == (2, 7)
    assert token_batch.blocks == ()


def test_rows_of_several_lengths_follow_one_another() -> None:
    token_batch = batch_rows(ROWS, [7, 7, 5, 5, 5, 9])
    assert token_batch.blocks == ((2, 7), (3, 5), (1, 9))
    assert token_batch.ids_BT.shape == (1, 38)
    assert token_batch.positions_BT is not None
    assert token_batch.positions_BT[0].tolist() == [*range(7)] * 2 + [*range(5)] * 3 + [*range(9)]
    assert token_batch.ids_BT[0, token_batch.where_A + 1].tolist() == token_batch.wanted_A.tolist()


@pytest.mark.parametrize("lengths", [[7, 7, 5, 5, 5, 9], [7, 7, 4, 4, 4, 9], [9, 7, 9, 4, 9, 9]])
def test_a_model_computes_in_blocks_what_it_computes_of_padded_rows(lengths: list[int]) -> None:
    model = tiny_llama().double()
    padded_AV = AnswerModel(model)(*batch_rows(ROWS).inputs(torch.device("cpu")))
    assert allow_blocks(model)
    for token_batch in (batch_rows(ROWS), batch_rows(ROWS, lengths)):
        logits_AV = AnswerModel(model)(*token_batch.inputs(torch.device("cpu")))
        torch.testing.assert_close(logits_AV, padded_AV, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("model", "allowed"),
    [
        (lambda: model_of("qwen3"), True),
        (lambda: model_of("mistral", sliding_window=None), True),
        (lambda: model_of("mistral", sliding_window=4), False),
        (lambda: model_of("gemma3_text", sliding_window=4), False),
        (lambda: model_of("gpt2", n_embd=16, n_head=4, n_layer=2), True),
        (lambda: model_of("opt", word_embed_proj_dim=16, ffn_dim=32), True),
        (lambda: model_of("mamba", state_size=4), False),
    ],
    ids=["qwen3", "mistral", "mistral with a window", "gemma3", "gpt2", "opt", "mamba"],
)
def test_what_an_architecture_allows(model: Any, allowed: bool) -> None:
    made = model()
    before = AnswerModel(made)(*batch_rows(ROWS).inputs(torch.device("cpu")))
    assert allow_blocks(made) == takes_blocks(made) == allowed
    after = AnswerModel(made)(*batch_rows(ROWS, [7, 7, 4, 4, 4, 9] if allowed else None).inputs(torch.device("cpu")))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


MIXTURE = {"num_experts": 4, "moe_intermediate_size": 8, "shared_expert_intermediate_size": 8}


@pytest.mark.parametrize(
    ("name", "settings", "targets"),
    [
        ("opt", {"word_embed_proj_dim": 16, "ffn_dim": 32}, ["*.fc1", "*.q_proj"]),
        ("qwen2_moe", MIXTURE, ["*.shared_expert.up_proj"]),
    ],
    ids=["opt", "qwen2_moe"],
)
def test_layers_that_get_their_input_flat_are_adapted_in_blocks(
    name: str, settings: dict[str, Any], targets: list[str]
) -> None:
    logits = []
    for lengths in (None, [7, 7, 4, 4, 4, 9]):
        model = model_of(name, **settings)
        assert lengths is None or allow_blocks(model)
        d2lora.attach_lanes(model, [d2lora.Lane("lora", LoraConfig(rank=2), seed) for seed in range(3)], targets)
        for lane in range(3):
            for parameter in d2lora.adapter_parameters(model, lane).values():
                torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(lane))
        own = None if lengths is None else [7, 4, 9]
        with d2lora.lane_rows(model, [2, 3, 1], lengths=own):
            logits.append(AnswerModel(model)(*batch_rows(ROWS, lengths).inputs(torch.device("cpu"))))
    torch.testing.assert_close(logits[1], logits[0], rtol=1e-4, atol=1e-5)


def test_an_architecture_whose_code_raises_keeps_its_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = tiny_llama()
    forward = type(model.model).forward

    def raises(self: Any, *args: Any, blocks: Any = None, **options: Any) -> Any:
        if blocks:
            raise KeyError("rope")
        return forward(self, *args, **options)

    monkeypatch.setattr(type(model.model), "forward", raises)
    assert (
        "rows of a pass are padded to one length: the architecture's code does not take it (KeyError: 'rope')"
        in why_not(model)
    )
    assert not allow_blocks(model)
    assert model.config._attn_implementation == PLAIN


def test_a_model_that_computes_something_else_in_blocks_keeps_its_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = tiny_llama()
    forward = type(model.model).forward

    def unaware(self: Any, *args: Any, blocks: Any = None, **options: Any) -> Any:
        return forward(self, *args, **options)

    monkeypatch.setattr(type(model.model), "forward", unaware)
    assert not allow_blocks(model)
    assert model.config._attn_implementation == PLAIN


def test_a_base_kept_by_a_trainer_goes_back_to_rectangles_where_the_next_sweep_has_none() -> None:
    model = tiny_llama()
    take(model, Shortcuts(blocks=True))
    assert takes_blocks(model)
    take(model, Shortcuts(blocks=True), torch.device("cuda"))
    assert not takes_blocks(model)


def test_blocks_are_checked_at_the_precision_of_the_weights() -> None:
    assert allow_blocks(tiny_llama().to(torch.bfloat16))
    assert takes_blocks(nn.Linear(2, 2)) is False
