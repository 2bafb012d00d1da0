"""The cross entropy of answer tokens, computed in place: it takes no memory beside the logits.

The logits (A, V) of a pass fill a CPU's cache at V = 32,768, so another tensor of their size would not fit beside them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def answer_losses(logits_AV: Tensor, wanted_A: Tensor) -> Tensor:
    """Return ``-log softmax(logits)[wanted]`` of each answer token, of shape (A,), in nats. Overwrites ``logits_AV``.

    Value and gradient are those of ``torch.nn.functional.cross_entropy(reduction="none")``, which makes three more
    tensors of shape (A, V).
    """
    losses_A: Tensor = _AnswerLosses.apply(logits_AV, wanted_A)  # type: ignore[no-untyped-call]
    return losses_A


class _AnswerLosses(torch.autograd.Function):
    """The autograd function of `answer_losses`. Backward can run only once, because it overwrites saved numbers."""

    @staticmethod
    def forward(ctx: Any, logits_AV: Tensor, wanted_A: Tensor) -> Tensor:
        logs_AV = torch.log_softmax(logits_AV, 1, out=logits_AV)
        ctx.save_for_backward(logs_AV, wanted_A)
        return -logs_AV.gather(1, wanted_A[:, None])[:, 0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        logs_AV, wanted_A = ctx.saved_tensors
        (slope_A,) = gradients
        dlogits_AV = logs_AV.exp_().mul_(slope_A[:, None])
        dlogits_AV.scatter_add_(1, wanted_A[:, None], -slope_A[:, None])
        return dlogits_AV, None
