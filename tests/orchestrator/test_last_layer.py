"""The last layer computes where answers are read, and nothing that is read changes by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import d2lora
from d2lora.spectra import Bounds
from orchestrator.answers import AnswerModel
from orchestrator.diagnostics import Diagnoses
from orchestrator.engine.plain import OneProcess
from orchestrator.last_layer import is_narrow, make_narrow, token_wise
from orchestrator.model import enable_checkpointing
from orchestrator.packed import Packed, pack_choices, pack_items, pack_rows
from orchestrator.shortcuts import ROWS, allow_blocks, allow_narrow
from tests.orchestrator.architectures import model_of
from tests.orchestrator.tiny_llama import questions, tiny_llama

ALL = ["*.q_proj", "*.k_proj", "*.v_proj", "*.o_proj", "*.gate_proj", "*.up_proj", "*.down_proj"]
Gradients = dict[str, Tensor]


def answers(model: nn.Module, packed: Packed) -> Tensor:
    logits_AV: Tensor = AnswerModel(model)(*packed.inputs(torch.device("cpu")))
    return logits_AV


def adapted(dropout: float = 0.0) -> nn.Module:
    """Return a model with three lanes of several methods, in training."""
    model = tiny_llama().double()
    assert allow_blocks(model)
    assert allow_narrow(model)
    lanes = [
        d2lora.Lane(method, d2lora.get_method(method).Config(rank=3, dropout=dropout), seed)
        for seed, method in enumerate(("d2lora", "lora", "dora"))
    ]
    d2lora.attach_lanes(model, lanes, ALL)
    for lane in range(3):
        for parameter in d2lora.adapter_parameters(model, lane).values():
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(lane))
    return model.train()


def passed(
    model: nn.Module, packed: Packed, lengths: list[int] | None = None, counts: tuple[int, ...] = (1, 2, 1)
) -> tuple[Tensor, Gradients]:
    """Return the logits, and the gradients of a loss of them, of three lanes with so many rows."""
    model.zero_grad()
    with d2lora.lane_rows(model, counts, lengths=lengths):
        logits_AV = answers(model, packed)
        logits_AV.logsumexp(1).sum().backward()
    gradients = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
    return logits_AV.detach(), gradients


@pytest.mark.parametrize("in_blocks", [False, True], ids=["padded", "in blocks"])
def test_logits_and_gradients_of_every_lane_are_those_of_the_whole_layer(in_blocks: bool) -> None:
    model = adapted()
    rows = [ROWS[0], ROWS[2], ROWS[3], ROWS[1]]
    packed = pack_rows(rows, [len(ids) for ids, _ in rows] if in_blocks else None)
    lengths = [5, 3, 5] if in_blocks else None
    assert_alike(model, packed, lengths, (1, 2, 1))


def assert_alike(model: nn.Module, packed: Packed, lengths: list[int] | None, counts: tuple[int, ...]) -> None:
    make_narrow(model, True)
    narrow_AV, narrow = passed(model, packed, lengths, counts)
    make_narrow(model, False)
    whole_AV, whole = passed(model, packed, lengths, counts)
    torch.testing.assert_close(narrow_AV, whole_AV, rtol=1e-12, atol=1e-12)
    assert narrow.keys() == whole.keys()
    assert any("layers.1.mlp" in name for name in whole)
    for name, gradient in whole.items():
        torch.testing.assert_close(narrow[name], gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("pack", [pack_items, pack_choices])
def test_whole_questions_come_out_the_same(pack: Callable[..., Packed]) -> None:
    """Where choices share a prompt its last token is read more than once."""
    model, packed = adapted(), pack(questions(5))
    each = packed.ids_BT.shape[0] // 5
    assert_alike(model, packed, None, (each, 2 * each, 2 * each))


def test_five_parts_compute_as_many_places_as_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = tiny_llama()
    assert allow_narrow(model)
    packed, seen = pack_rows(ROWS), []
    parts = [*token_wise(model), model.model.layers[0].mlp]
    for part in parts:

        def watched(x_BTI: Tensor, whole: Callable[[Tensor], Tensor] = part.forward) -> Tensor:
            seen.append(x_BTI.shape[:-1].numel())
            return whole(x_BTI)

        monkeypatch.setattr(part, "forward", watched)
    own = [vars(part)["forward"] for part in parts]
    answers(model, packed)
    read = len(packed.where_A)
    assert seen == [packed.ids_BT.numel(), read, read, read, read, read]
    assert [vars(part)["forward"] for part in parts] == own


def test_on_other_devices_than_cpus_it_is_whole() -> None:
    model = tiny_llama()
    assert allow_narrow(model)
    assert not allow_narrow(model, torch.device("cuda"))
    assert not is_narrow(model)


def test_dropout_is_that_of_the_whole_layer() -> None:
    """So a run is the same with gradient checkpointing, under which the layer is whole."""
    rows = [ROWS[0], ROWS[2], ROWS[3], ROWS[1]]
    model = adapted(dropout=0.5)
    assert_alike(model, pack_rows(rows), None, (1, 2, 1))
    assert_alike(model, pack_rows(rows, [len(ids) for ids, _ in rows]), [5, 3, 5], (1, 2, 1))


def test_what_training_did_is_told_the_same() -> None:
    model, items = adapted(), {lane: questions(3, seed=lane) for lane in range(3)}
    told = []
    for narrow in (True, False):
        make_narrow(model, narrow)
        told.append(Diagnoses(OneProcess(model, torch.device("cpu")), bounds=Bounds(layers=14)).of(items))
    for lane in range(3):
        ours, whole = ({name: one for name, one in each[lane].items() if name != "seconds"} for each in told)
        assert "skipped" not in whole
        assert ours == pytest.approx(whole, rel=1e-8, abs=1e-11)


def test_under_checkpointing_the_layer_is_whole_for_backward_computes_it_again() -> None:
    model = adapted()
    packed = pack_rows([ROWS[0], ROWS[2], ROWS[3], ROWS[1]])
    _, without = passed(model, packed)
    enable_checkpointing(model)
    _, with_it = passed(model, packed)
    for name, gradient in without.items():
        torch.testing.assert_close(with_it[name], gradient, rtol=1e-10, atol=1e-12)


def test_nothing_stays_on_the_model_also_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = tiny_llama()
    assert allow_narrow(model)

    def broken(*_: Any) -> Tensor:
        raise ValueError("broken")

    monkeypatch.setattr(type(model.model.layers[-1].mlp), "forward", broken)
    with pytest.raises(ValueError, match="broken"):
        answers(model, pack_rows(ROWS))
    assert not any("forward" in vars(part) for part in token_wise(model))


@pytest.mark.parametrize(
    ("name", "settings", "allowed"),
    [
        ("llama", {}, True),
        ("qwen3", {}, True),
        ("mistral", {"sliding_window": 4}, True),
        ("gemma3_text", {"sliding_window": 4}, True),
        ("qwen2_moe", {"num_experts": 4, "moe_intermediate_size": 8}, True),
        ("mixtral", {"num_local_experts": 4}, True),
        ("bailing_hybrid", {"pad_token_id": 0, "eos_token_id": 1}, False),  # queries go through a convolution
        ("nanochat", {}, False),  # has its last norm before the layers as well
        ("gpt2", {"n_embd": 16, "n_head": 4, "n_layer": 2}, False),  # has other names
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_an_architecture_allows(name: str, settings: dict[str, Any], allowed: bool, dtype: torch.dtype) -> None:
    model, packed = model_of(name, **settings).to(dtype), pack_rows(ROWS)
    before = answers(model, packed)
    assert allow_narrow(model) == is_narrow(model) == allowed
    rounding = {torch.float32: 1e-4, torch.bfloat16: 0.05}[dtype]
    torch.testing.assert_close(answers(model, packed), before, rtol=rounding, atol=rounding)
    assert allow_narrow(model) == is_narrow(model) == allowed  # as of a base that was kept for the next pack


def test_a_layer_that_mixes_tokens_stays_whole(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model: Any = tiny_llama()
    forward = type(model.model.layers[0].mlp).forward

    def mixing(self: Any, x_BTH: Tensor) -> Tensor:
        mixed: Tensor = forward(self, x_BTH.cumsum(1))
        return mixed

    monkeypatch.setattr(type(model.model.layers[0].mlp), "forward", mixing)
    with caplog.at_level("INFO"):
        assert not allow_narrow(model)
    assert "LlamaForCausalLM computes its last layer for every token: noise at tokens that are not read" in caplog.text
    assert not is_narrow(model)
