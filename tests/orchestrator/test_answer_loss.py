"""The loss of answers has the value and the gradient of torch's cross entropy."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from orchestrator.answer_loss import answer_losses


def test_value_and_gradient_are_those_of_cross_entropy() -> None:
    torch.manual_seed(0)
    logits_AV = torch.randn(7, 30, dtype=torch.float64).mul_(20).requires_grad_()
    wanted_A, weight_A = torch.tensor([3, 0, 29, 3, 7, 7, 11]), torch.randn(7, dtype=torch.float64)
    wanted = cross_entropy(logits_AV, wanted_A, reduction="none")
    (slope,) = torch.autograd.grad((wanted * weight_A).sum(), logits_AV)
    found = answer_losses(logits_AV * 1.0, wanted_A)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    (own,) = torch.autograd.grad((found * weight_A).sum(), logits_AV)
    torch.testing.assert_close(own, slope, rtol=1e-12, atol=1e-12)


def test_a_logit_that_is_not_finite_gives_a_loss_that_is_not() -> None:
    logits_AV = torch.tensor([[0.0, float("nan")], [0.0, 1.0]])
    found = answer_losses(logits_AV, torch.tensor([0, 0]))
    assert found.isnan().tolist() == [True, False]
