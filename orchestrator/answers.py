"""Logits only where answers are, of rows in every layout that `packed` knows and a model computes alike."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn

from orchestrator import attention
from orchestrator.errors import InputError
from orchestrator.packed import Blocks, Row, pack_choices, pack_items, pack_rows, segment_mask
from orchestrator.tokens import Item

_log = logging.getLogger(__name__)
CPU = torch.device("cpu")


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
        share a prompt. ``blocks`` need a model for which `allow_blocks` was True (see `Packed`).
        """
        decoder: Any = self.model.base_model
        mask = None if segments_BT is None else segment_mask(segments_BT)
        options: dict[str, Any] = {}
        if blocks:
            options["blocks"] = blocks
            mask = ids_BT.new_ones(1, 1, 1, 1, dtype=torch.bool)  # a mask of four dimensions: that none is made
        hidden_BTH = decoder(
            input_ids=ids_BT, attention_mask=mask, position_ids=positions_BT, use_cache=False, **options
        ).last_hidden_state
        head: Any = self.model.get_output_embeddings()  # type: ignore[operator]
        logits_AV: Tensor = head(hidden_BTH.flatten(0, 1).index_select(0, where_A))
        return logits_AV.float() if logits_AV.element_size() < 4 else logits_AV

    def check(self) -> bool:
        """Refuse an architecture that does more than apply its head (a logit scale or cap), by comparing once.

        Return whether choices may share a prompt: whether the architecture takes a mask and positions.
        """
        ids_BT = torch.arange(6, device=next(self.parameters()).device).reshape(2, 3)
        with torch.no_grad():
            whole = self.model(input_ids=ids_BT, use_cache=False).logits.flatten(0, 1).float()
            ours = self(ids_BT, torch.arange(6, device=ids_BT.device))
        resolution = torch.finfo(next(self.parameters()).dtype).eps
        if not _distance(ours, whole) <= max(1e-3, resolution):  # the hidden states are the same: one rounding apart
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
        return _distance(shared, apart) <= max(1e-3, 4 * resolution)


def allow_blocks(model: nn.Module, device: torch.device = CPU) -> bool:
    """Let passes hold blocks of rows without padding between them, if ``model`` computes the same so; return whether.

    It does not where a token depends on earlier ones other than by plain attention: by windows, or recurrent layers.
    ``device`` is where it will train: on others than CPUs nobody has measured what blocks cost, and there are none.
    """
    config: Any = model.config
    text = config.get_text_config()
    other_kinds = set(getattr(text, "layer_types", None) or ()) - {"full_attention"}
    whole = not other_kinds and not getattr(text, "sliding_window", None)
    plain = config._attn_implementation == attention.PLAIN and attention.can_be_chosen(model)
    if device.type == "cpu" and plain and whole:
        reason = _differs_in_blocks(model)
        if reason is not None:
            _log.info("%s pads the rows of a pass to one length: %s", type(model).__name__, reason)
            attention.use(model, attention.PLAIN)
    return takes_blocks(model)


def _differs_in_blocks(model: nn.Module) -> str | None:
    """Let ``model`` attend in blocks; return why it should not, or None if it computes the same so."""
    rows: list[Row] = [((0, 1, 2, 3, 4), 1), ((4, 3, 5, 0, 2), 1), ((2, 5, 1), 1), ((5, 0, 4), 1)]
    one = next(model.parameters())
    padded, flat = pack_rows(rows), pack_rows(rows, [len(ids) for ids, _ in rows])
    try:
        attention.use(model, attention.IN_BLOCKS)
        with torch.no_grad():
            padded_AV, flat_AV = (AnswerModel(model)(*packed.inputs(one.device)) for packed in (padded, flat))
    except Exception as error:  # whatever code that knows no blocks makes of them: it trains as it is
        return f"{type(error).__name__}: {error}"
    far = _distance(flat_AV, padded_AV)
    return None if far <= max(1e-3, 4 * torch.finfo(one.dtype).eps) else f"its logits differ by {far:.2g} in blocks"


def takes_blocks(model: nn.Module) -> bool:
    """Return whether `allow_blocks` has allowed them."""
    return bool(getattr(getattr(model, "config", None), "_attn_implementation", "") == attention.IN_BLOCKS)


def _distance(found: Tensor, wanted: Tensor) -> float:
    """Return the norm of the difference by the norm of ``wanted``: 0 where both are zero, NaN where either has one."""
    smallest = torch.finfo(wanted.dtype).tiny
    return float((found - wanted).norm() / wanted.norm().clamp_min(smallest))
