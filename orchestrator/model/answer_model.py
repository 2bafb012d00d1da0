"""Logits only where answers are, of rows in every layout that `packed` knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from orchestrator.model.head import answering_in_float32
from orchestrator.model.token_batch import Blocks, segment_mask


class AnswerModel(nn.Module):
    """A causal language model that computes logits only where they are asked for.

    The head on every token would cost 4 V d operations each, more than several layers (V = 49,152). What the model
    does before and after its head (a scale, a cap) it does itself: it is the model's own forward.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        ids_BT: Tensor,
        where_A: Tensor,
        segments_BT: Tensor | None = None,
        positions_BT: Tensor | None = None,
        blocks: Blocks = (),
    ) -> Tensor:
        """Return float32 logits (A, V) at the flat positions ``where_A`` of ``ids_BT``.

        Rows are padded on the right, so that no real token attends to padding and no mask is needed, unless choices
        share a prompt: that, and ``blocks``, only of a model that computes the same so (see `shortcuts`).
        """
        options: dict[str, Any] = {}
        if segments_BT is not None:
            options["attention_mask"] = self._mask(segment_mask(segments_BT))
        if positions_BT is not None:
            options["position_ids"] = positions_BT
        if blocks:
            options["blocks"] = blocks
            mask = ids_BT.new_ones(1, 1, 1, 1, dtype=torch.bool)  # a mask of four dimensions: that none is made
            options["attention_mask"] = mask
        with self._head_at(where_A):
            logits_1AV: Tensor = self.model(input_ids=ids_BT, use_cache=False, **options).logits
        logits_AV = logits_1AV[0]
        return logits_AV.float() if logits_AV.element_size() < 4 else logits_AV  # of a head that is no linear layer

    @contextmanager
    def _head_at(self, where_A: Tensor) -> Iterator[None]:
        """Within: the head gets one row, the hidden states (1, A, H) at ``where_A``, and answers in float32."""

        def cut(_head: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            hidden_BTH, *others = args
            return (hidden_BTH.flatten(0, -2).index_select(0, where_A)[None], *others)

        head: nn.Module = self.model.get_output_embeddings()  # type: ignore[operator]
        hook = head.register_forward_pre_hook(cut)
        try:
            with answering_in_float32(head):
                yield
        finally:
            hook.remove()

    def _mask(self, seen_B1TT: Tensor) -> Tensor:
        """Return the mask as the model's attention takes it: "eager" adds it to the scores."""
        config: Any = self.model.config
        if config._attn_implementation != "eager":
            return seen_B1TT
        dtype = next(self.model.parameters()).dtype
        return torch.zeros_like(seen_B1TT, dtype=dtype).masked_fill(~seen_B1TT, torch.finfo(dtype).min)


def tolerance(dtype: torch.dtype) -> float:
    """Return how far apart logits may be that a model with weights of this type has computed in two ways.

    By `distance`. Other kernels round otherwise, and roundings add up over layers. The largest seen, of the tests' 18
    architectures with logits around 0, 100 and 1,000, and with hidden states off by a rounding: 6.8e-6 in float32,
    where 1e-4 is allowed, and 1.3e-2 in bfloat16, where 3.1e-2 is.
    """
    return max(1e-4, 4 * torch.finfo(dtype).eps)


def distance(found_AV: Tensor, wanted_AV: Tensor) -> float:
    """Return the norm of the difference by the norm of ``wanted_AV``, each row of both less its mean.

    A softmax does not see what all logits of a row have in common, and logits that lie far from zero would hide a
    fault behind it. 0 where both are the same, NaN where either has one.
    """
    found, wanted = (one - one.mean(-1, keepdim=True) for one in (found_AV.double(), wanted_AV.double()))
    smallest = torch.finfo(torch.float32).tiny
    return float((found - wanted).norm() / wanted.norm().clamp_min(smallest))
