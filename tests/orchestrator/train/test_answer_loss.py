"""The loss of answers has the value and the gradient of torch's cross entropy, and takes over its logits' memory."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from orchestrator.train.answer_loss import answer_losses


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("vocab", [30, 40_001])  # a row that fits a vector kernel's chunk, and one that does not
def test_value_and_gradient_are_those_of_cross_entropy(dtype: torch.dtype, tolerance: float, vocab: int) -> None:
    torch.manual_seed(0)
    logits_AV = torch.randn(7, vocab, dtype=dtype).mul_(20).requires_grad_()
    wanted_A, weight_A = torch.tensor([3, 0, 29, 3, 7, 7, 11]), torch.randn(7, dtype=dtype)
    wanted = cross_entropy(logits_AV, wanted_A, reduction="none")
    (slope,) = torch.autograd.grad((wanted * weight_A).sum(), logits_AV)
    losses_A = answer_losses(logits_AV * 1.0, wanted_A)
    torch.testing.assert_close(losses_A, wanted, rtol=tolerance, atol=tolerance)
    (own,) = torch.autograd.grad((losses_A * weight_A).sum(), logits_AV)
    torch.testing.assert_close(own, slope, rtol=tolerance, atol=tolerance)


def test_its_logits_are_overwritten_and_autograd_knows() -> None:
    parameter = torch.randn(2, 5, requires_grad=True)
    logits_AV = parameter.exp()  # whose backward wants what it has computed
    losses_A = answer_losses(logits_AV, torch.tensor([0, 1]))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        losses_A.sum().backward()


def test_a_logit_that_is_not_finite_gives_a_loss_that_is_not() -> None:
    logits_AV = torch.tensor([[0.0, float("nan")], [0.0, 1.0]])
    losses_A = answer_losses(logits_AV, torch.tensor([0, 0]))
    assert losses_A.isnan().tolist() == [True, False]
