"""The door to transformers refuses what it cannot use, in words; choices share prompts in every precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from orchestrator.answers import AnswerModel
from orchestrator.errors import InputError
from orchestrator.model import check_targets
from tests.orchestrator.tiny_llama import tiny_llama

both_types = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


class ScalesItsLogits(LlamaForCausalLM):
    """Multiplies logits after the head, as some architectures do."""

    factor = 1.05

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.logits = output.logits * self.factor
        return output


class IgnoresMasks(AnswerModel):
    """An architecture that takes a mask and does not heed it."""

    def forward(self, ids_BT: Tensor, where_A: Tensor, segments_BT: Tensor | None = None, *others: Any) -> Tensor:
        return super().forward(ids_BT, where_A, None, *others)


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


@both_types
@pytest.mark.parametrize("times", [1, 40])
def test_choices_share_their_prompt_in_every_precision(dtype: torch.dtype, times: float) -> None:
    assert AnswerModel(louder(tiny_llama(), times).to(dtype)).check() is True


@both_types
@pytest.mark.parametrize("times", [1, 40])
def test_roundings_of_another_kernel_do_not_stop_sharing(dtype: torch.dtype, times: float) -> None:
    model = rounds_otherwise_under_a_mask(louder(tiny_llama(), times).to(dtype))
    assert AnswerModel(model).check() is True


@both_types
@pytest.mark.parametrize("times", [1, 40])
def test_an_architecture_that_ignores_masks_shares_no_prompt(dtype: torch.dtype, times: float) -> None:
    assert IgnoresMasks(louder(tiny_llama(), times).to(dtype)).check() is False


@both_types
@pytest.mark.parametrize("times", [0.01, 1, 40])
@pytest.mark.parametrize("factor", [0.95, 1.05])
def test_a_model_that_scales_its_logits_is_refused(dtype: torch.dtype, times: float, factor: float) -> None:
    scaling = ScalesItsLogits(tiny_llama().config)
    scaling.factor = factor
    with pytest.raises(InputError, match=r"ScalesItsLogits changes its logits after the head \(by up to .*largest is"):
        AnswerModel(louder(scaling, times).to(dtype)).check()


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
        check_targets(tmp_path, "attention")
    assert len(str(caught.value).splitlines()) == 1


def test_targets_that_match_nothing_are_refused_with_those_that_would(tmp_path: Path) -> None:
    tiny_llama().config.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"targets='\*\.qproj': .*There are: .*\*\.q_proj"):
        check_targets(tmp_path, "*.qproj")
    assert set(check_targets(tmp_path, "*.q_proj").values()) == {(16, 16)}


@pytest.mark.parametrize("targets", ["*", "*lm_head", "attention+*lm_head"])
def test_the_head_is_no_target(tmp_path: Path, targets: str) -> None:
    tiny_llama().config.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"the head, lm_head: it gets tokens of answers alone.* attention\+mlp"):
        check_targets(tmp_path, targets)
