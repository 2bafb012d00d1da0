"""What a base computes with shared prompts is what transformers computes of each choice by itself, or it is left."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from orchestrator.data.tokens import Item, TokenisedSplit
from orchestrator.errors import InputError
from orchestrator.model.shortcuts import Shortcuts, choose_shortcuts, chosen_items, longest_row, take
from orchestrator.model.token_batch import batch_choices
from orchestrator.train.engine.plain import OneProcess
from orchestrator.train.score import score_items
from tests.helpers.models.architectures import ARCHITECTURES, LOUD, WINDOW, architecture, model_of
from tests.helpers.models.tiny_llama import questions, tiny_llama

CPU = torch.device("cpu")
ITEMS = TokenisedSplit.of(questions(12, seed=1))
SHORT = [item for item in ITEMS if max(map(len, item.choices)) <= WINDOW]
both_types = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


def plainly(model: nn.Module, item: Item) -> list[float]:
    """Return the score of each choice from transformers' own forward over it alone."""
    scores = []
    for ids, start in zip(item.choices, item.starts, strict=True):
        with torch.no_grad():
            logits_TV: Tensor = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        chances_TV = logits_TV.log_softmax(1)
        scores.append(float(sum(chances_TV[place - 1, ids[place]] for place in range(start, len(ids)))))
    return scores


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("items", [ITEMS, SHORT], ids=["longer than the windows", "shorter"])
def test_scores_are_those_of_transformers_one_choice_at_a_time(name: str, items: Any) -> None:
    model = architecture(name)
    wanted = [plainly(model, item) for item in items]
    shortcuts = choose_shortcuts(model, {"task": TokenisedSplit.of(items)})
    take(model, shortcuts)
    for one, scores in zip(score_items(OneProcess(model, CPU), {0: items}, 0, shortcuts.share)[0], wanted, strict=True):
        assert one.scores == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_an_architecture_shares(name: str) -> None:
    windows, masks = ARCHITECTURES[name][2:]
    assert longest_row(ITEMS) > WINDOW
    long = choose_shortcuts(architecture(name), {"task": ITEMS})
    short = choose_shortcuts(architecture(name), {"task": TokenisedSplit.of(SHORT)})
    assert long.share == (masks and not windows)
    assert short.share == masks
    assert any("with a prompt of its own: " in line for line in long.remarks) is not long.share
    assert (f"look back {WINDOW} tokens, and the longest row has 15" in " ".join(long.remarks)) == windows


class ScalesItsLogits(LlamaForCausalLM):
    """Multiplies logits after the head, as some architectures do."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.logits = output.logits * 1.05
        return output


def test_a_model_that_does_more_after_its_head_is_taken_with_that() -> None:
    model, items = ScalesItsLogits(tiny_llama().config).eval(), questions(3)
    assert choose_shortcuts(model, {"task": TokenisedSplit.of(items)}) == Shortcuts(True, True)
    scored = score_items(OneProcess(model, CPU), {0: items}, 0)[0]
    for item, one in zip(items, scored, strict=True):
        assert one.scores == pytest.approx(plainly(model, item), abs=1e-4)


class MixesLogits(LlamaForCausalLM):
    """Its logits of a token are of those before it too, which the head has not seen."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.logits = output.logits.cumsum(1)
        return output


class HidesItsHead(LlamaForCausalLM):
    """Multiplies by the head's weight without calling it."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, logits_to_keep=1, **kwargs)
        output.logits = self.model(*args, **kwargs).last_hidden_state @ self.lm_head.weight.T
        return output


@both_types
@pytest.mark.parametrize("kind", [MixesLogits, HidesItsHead])
def test_a_model_whose_answers_need_the_whole_row_is_refused(kind: Any, dtype: torch.dtype) -> None:
    model = kind(tiny_llama().config).to(dtype).eval()
    with pytest.raises(InputError, match=f"{kind.__name__} does not give the logits of an answer without those of its"):
        choose_shortcuts(model, {"task": ITEMS})


@both_types
def test_a_model_that_looks_ahead_is_refused(dtype: torch.dtype) -> None:
    bert = {"num_key_value_heads": None, "max_position_embeddings": 64}
    choose_shortcuts(model_of("bert", is_decoder=True, **LOUD, **bert).to(dtype), {"task": ITEMS})
    model = model_of("bert", **LOUD, **bert).to(dtype)
    with pytest.raises(InputError, match=r"BertLMHeadModel computes other logits of a token where others follow"):
        choose_shortcuts(model, {"task": ITEMS})


def louder(model: nn.Module, times: float) -> nn.Module:
    """Return ``model`` with the head's weights ``times`` as large, so that logits are as large as trained ones."""
    with torch.no_grad():
        model.lm_head.weight.mul_(times)  # type: ignore[union-attr,operator]
    return model


def rounds_otherwise_under_a_mask(model: nn.Module) -> nn.Module:
    """Move hidden states by one unit in the last place where a mask is given, as another attention kernel does."""

    def jitter(_module: nn.Module, _args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        if kwargs.get("attention_mask") is not None:
            hidden = output.last_hidden_state
            sign = torch.randint(0, 2, hidden.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
            output.last_hidden_state = (hidden * (1 + sign * torch.finfo(hidden.dtype).eps)).to(hidden.dtype)
        return output

    model.base_model.register_forward_hook(jitter, with_kwargs=True)  # type: ignore[union-attr]
    return model


def ignores_masks(model: nn.Module) -> nn.Module:
    """Make of the model one that takes a mask and does not heed it."""

    def forget(_module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        return args, kwargs | {"attention_mask": None}

    model.base_model.register_forward_pre_hook(forget, with_kwargs=True)  # type: ignore[union-attr]
    return model


def far_from_zero(model: nn.Module, by: float) -> nn.Module:
    """Return ``model`` with every logit ``by`` larger, which no score sees."""
    head: Any = model.get_output_embeddings()  # type: ignore[operator]
    head.bias = nn.Parameter(torch.full_like(head.weight[:, 0], by))
    return model


@both_types
@pytest.mark.parametrize("by", [100, 1000, -1000])
def test_a_fault_shows_however_far_from_zero_logits_lie_and_roundings_do_not(dtype: torch.dtype, by: float) -> None:
    def model() -> nn.Module:
        return far_from_zero(tiny_llama().to(dtype), by)

    assert choose_shortcuts(model(), {"task": ITEMS}).share
    assert choose_shortcuts(rounds_otherwise_under_a_mask(model()), {"task": ITEMS}).share
    assert not choose_shortcuts(ignores_masks(model()), {"task": ITEMS}).share
    with pytest.raises(InputError, match="does not give the logits of an answer without"):
        choose_shortcuts(far_from_zero(MixesLogits(tiny_llama().config).to(dtype).eval(), by), {"task": ITEMS})


@both_types
@pytest.mark.parametrize("times", [1, 40])
def test_roundings_of_another_kernel_do_not_stop_sharing(dtype: torch.dtype, times: float) -> None:
    model = rounds_otherwise_under_a_mask(louder(tiny_llama(), times).to(dtype))
    assert choose_shortcuts(model, {"task": ITEMS}).share


@both_types
@pytest.mark.parametrize("times", [1, 40])
def test_an_architecture_that_ignores_masks_shares_no_prompt(dtype: torch.dtype, times: float) -> None:
    chosen = choose_shortcuts(ignores_masks(louder(tiny_llama(), times).to(dtype)), {"task": ITEMS})
    assert not chosen.share
    assert "a prompt of its own: logits would differ by" in chosen.remarks[0]


def test_what_is_tried_begins_with_the_longest_row_and_ends_where_it_would_cost_too_much() -> None:
    tasks = {"a": TokenisedSplit.of(questions(20)), "b": ITEMS}
    longest = max(max(map(len, item.choices)) for item in [*tasks["a"], *ITEMS])
    chosen = chosen_items(tasks, 1000)
    assert len(chosen) == 2 + 2 * 2
    assert all(len(item.choices) == 2 for item in chosen)
    assert max(map(len, chosen[0].choices)) == longest
    assert len(chosen_items(tasks, 10**13)) == 1
    with torch.no_grad():
        assert batch_choices(chosen[:1]).ids_BT.shape[1] == longest
