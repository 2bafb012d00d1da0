"""A causal language model that computes logits for answer tokens only, from rows in every layout of a `TokenBatch`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from orchestrator.model.head import answering_in_float32
from orchestrator.model.token_batch import Blocks, segment_mask


class AnswerModel(nn.Module):
    """A causal language model that computes logits only at the positions that are asked for.

    The head costs 4 V d operations per token, more than several layers (V = 49,152), so it runs for answer tokens only.
    Everything else is the model's own forward, including scales and caps before and after the head.
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
        """Return float32 logits (A, V) at the flat positions ``where_A`` of ``ids_BT``; see `TokenBatch` for the rest.

        Rows are padded on the right, so no real token attends to padding, and rows of one length need no mask. Choices
        that share a prompt (``segments_BT``) need a mask. ``blocks`` need the attention of `block_attention`. Shared
        prompts and blocks are only for models whose logits stay the same, which `orchestrator.model.shortcuts` tests.
        """
        options: dict[str, Any] = {}
        if segments_BT is not None:
            options["attention_mask"] = self._mask(segment_mask(segments_BT))
        if positions_BT is not None:
            options["position_ids"] = positions_BT
        if blocks:
            options["blocks"] = blocks
            # A dummy: given a 4-D mask, transformers builds no causal mask. The attention in blocks ignores it.
            options["attention_mask"] = ids_BT.new_ones(1, 1, 1, 1, dtype=torch.bool)
        with self._head_at(where_A):
            logits_1AV: Tensor = self.model(input_ids=ids_BT, use_cache=False, **options).logits
        logits_AV = logits_1AV[0]
        # A head that is no linear layer can answer in half precision.
        return logits_AV.float() if logits_AV.element_size() < 4 else logits_AV

    @contextmanager
    def _head_at(self, where_A: Tensor) -> Iterator[None]:
        """Within: the head gets only the hidden states at ``where_A``, as one row (1, A, H), and answers in float32."""

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
        """Return the mask in the form that the model's attention takes: "eager" attention adds the mask to scores."""
        config: Any = self.model.config
        if config._attn_implementation != "eager":
            return seen_B1TT
        dtype = next(self.model.parameters()).dtype
        return torch.zeros_like(seen_B1TT, dtype=dtype).masked_fill(~seen_B1TT, torch.finfo(dtype).min)


def tolerance(dtype: torch.dtype) -> float:
    """Return the largest `distance` allowed between logits that a model has computed in two ways.

    ``dtype`` is the type of the model's weights. Kernels round differently, and roundings add up over layers. The
    tests' 18 architectures, with logits around 0, 100 and 1,000 and with hidden states off by one rounding, reach a
    distance of 6.8e-6 in float32 (allowed: 1e-4) and of 1.3e-2 in bfloat16 (allowed: 3.1e-2).
    """
    return max(1e-4, 4 * torch.finfo(dtype).eps)


def distance(logits_AV: Tensor, wanted_AV: Tensor) -> float:
    """Return the norm of the difference divided by the norm of ``wanted_AV``, after the mean of each row is removed.

    The mean is removed because a softmax does not depend on it, and a large mean would hide a fault. The distance of
    equal logits is 0, and the distance is NaN if any logit is NaN.
    """
    centred_AV = logits_AV.double() - logits_AV.double().mean(-1, keepdim=True)
    centred_wanted_AV = wanted_AV.double() - wanted_AV.double().mean(-1, keepdim=True)
    smallest = torch.finfo(torch.float32).tiny
    return float((centred_AV - centred_wanted_AV).norm() / centred_wanted_AV.norm().clamp_min(smallest))
