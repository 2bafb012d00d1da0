"""Cross entropy of answer tokens in the memory of their logits: at V = 32,768 those of a pass fill a cache."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def answer_losses(logits_AV: Tensor, wanted_A: Tensor) -> Tensor:
    """Return ``-log softmax(logits)[wanted]`` of each answer token, of shape (A,); ``logits_AV`` are overwritten.

    The value and gradient of ``torch.nn.functional.cross_entropy``, which makes three more tensors of (A, V).
    """
    found: Tensor = _AnswerLosses.apply(logits_AV, wanted_A)  # type: ignore[no-untyped-call]
    return found


class _AnswerLosses(torch.autograd.Function):
    """Backward runs once: what it keeps becomes the gradient."""

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
