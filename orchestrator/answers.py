"""Logits only where answers are, of rows in every layout that `packed` knows."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from orchestrator.errors import InputError
from orchestrator.last_layer import is_narrow, only_at
from orchestrator.packed import Blocks, pack_choices, pack_items, segment_mask
from orchestrator.tokens import Item


class AnswerModel(nn.Module):
    """A causal language model that computes logits only where they are asked for.

    The head on every token would cost 4 V d operations each, more than several layers (V = 49,152).
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
        share a prompt. ``blocks`` need a model that `shortcuts` has allowed them (see `Packed`).
        """
        decoder: Any = self.model.base_model
        mask = None if segments_BT is None else segment_mask(segments_BT)
        options: dict[str, Any] = {}
        if blocks:
            options["blocks"] = blocks
            mask = ids_BT.new_ones(1, 1, 1, 1, dtype=torch.bool)  # a mask of four dimensions: that none is made
        with self._last_layer(where_A, ids_BT):
            hidden_BTH = decoder(
                input_ids=ids_BT, attention_mask=mask, position_ids=positions_BT, use_cache=False, **options
            ).last_hidden_state
        head: Any = self.model.get_output_embeddings()  # type: ignore[operator]
        logits_AV: Tensor = head(hidden_BTH.flatten(0, 1).index_select(0, where_A))
        return logits_AV.float() if logits_AV.element_size() < 4 else logits_AV

    def _last_layer(self, where_A: Tensor, ids_BT: Tensor) -> AbstractContextManager[None]:
        """Leave out of the last layer what nobody reads, where that is allowed (see `shortcuts`).

        Gradient checkpointing computes the layer again after this, and would do so in full.
        """
        again = torch.is_grad_enabled() and getattr(self.model, "is_activation_checkpointing", False)
        return nullcontext() if again or not is_narrow(self.model) else only_at(self.model, where_A, *ids_BT.shape)

    def check(self) -> bool:
        """Refuse an architecture that does more than apply its head (a logit scale or cap), by comparing once.

        Return whether choices may share a prompt: whether the architecture takes a mask and positions.
        """
        ids_BT = torch.arange(6, device=next(self.parameters()).device).reshape(2, 3)
        with torch.no_grad():
            whole = self.model(input_ids=ids_BT, use_cache=False).logits.flatten(0, 1).float()
            ours = self(ids_BT, torch.arange(6, device=ids_BT.device))
        dtype = next(self.parameters()).dtype
        if not distance(ours, whole) <= tolerance(dtype, 1):  # the hidden states are the same: one rounding apart
            raise InputError(
                f"{type(self.model).__name__} changes its logits after the head (by up to "
                f"{float((whole - ours).abs().max()):.3g}, where the largest is {float(whole.abs().max()):.3g}); "
                "this is not supported."
            )
        item = Item(((0, 1, 2, 3), (0, 1, 4, 5)), (2, 2), 0, (1, 1))
        device = ids_BT.device
        with torch.no_grad():
            apart, shared = (self(*pack([item]).inputs(device)) for pack in (pack_choices, pack_items))
        # A mask takes other kernels, whose roundings add up over layers; one that is ignored changes a tenth or more.
        return distance(shared, apart) <= tolerance(dtype)


def tolerance(dtype: torch.dtype, roundings: int = 4) -> float:
    """Return how far apart logits may be that a model with weights of this type has computed in two ways."""
    return max(1e-3, roundings * torch.finfo(dtype).eps)


def distance(found: Tensor, wanted: Tensor) -> float:
    """Return the norm of the difference by the norm of ``wanted``: 0 where both are zero, NaN where either has one."""
    smallest = torch.finfo(wanted.dtype).tiny
    return float((found - wanted).norm() / wanted.norm().clamp_min(smallest))
