"""Logits of answers over a base in half precision: exact products, added up in float32."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from d2lora import freeze
from orchestrator.model.head import answering_in_float32


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_logits_and_gradients_are_those_of_a_widened_head(dtype: torch.dtype, bias: bool, frozen: bool) -> None:
    head = nn.Linear(64, 50, bias=bias)
    head.weight.data.copy_(normal(50, 64, seed=0))
    head.to(dtype).requires_grad_(False)
    if frozen:
        freeze(head)
    hidden_1AH = (3 * normal(1, 9, 64, seed=1)).to(dtype).requires_grad_()
    wide_1AH = hidden_1AH.detach().double().requires_grad_()
    slope_1AV = normal(1, 9, 50, seed=2)
    with answering_in_float32(head):
        logits_1AV = head(hidden_1AH)
    wanted_1AV = nn.functional.linear(wide_1AH, head.weight.double(), None if head.bias is None else head.bias.double())
    assert logits_1AV.dtype == torch.float32
    torch.testing.assert_close(logits_1AV.double(), wanted_1AV, rtol=1e-5, atol=1e-5)
    (dhidden,) = torch.autograd.grad(logits_1AV, hidden_1AH, slope_1AV)
    (wanted,) = torch.autograd.grad(wanted_1AV, wide_1AH, slope_1AV.double())
    assert dhidden.dtype == dtype
    torch.testing.assert_close(dhidden.double(), wanted, rtol=torch.finfo(dtype).eps, atol=1e-5)


def test_two_answers_that_differ_by_less_than_a_step_of_bfloat16_are_told_apart() -> None:
    head = nn.Linear(8, 2, bias=False).to(torch.bfloat16).requires_grad_(False)
    head.weight.data.copy_(torch.full((2, 8), 2.0))
    head.weight.data[1, 0] = 2.015625  # one step of bfloat16 above 2
    hidden_AH = torch.ones(1, 8, dtype=torch.bfloat16)
    assert head(hidden_AH).unique().numel() == 1
    with answering_in_float32(head):
        assert (head(hidden_AH)[0, 1] - head(hidden_AH)[0, 0]).item() == pytest.approx(0.015625)
    assert head(hidden_AH).dtype == torch.bfloat16


def test_heads_that_are_not_plain_linear_layers_stay_as_they_are() -> None:
    class Doubled(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    for head in (Doubled(4, 3).to(torch.bfloat16), nn.Linear(4, 3), nn.Identity()):
        x = torch.ones(1, 4, dtype=torch.float32 if type(head) is nn.Linear else torch.bfloat16)
        wanted = head(x)
        with answering_in_float32(head):
            assert torch.equal(head(x), wanted)
