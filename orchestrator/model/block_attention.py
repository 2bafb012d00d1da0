"""Attention within blocks of rows: many rows lie one after another in one tensor row, and each attends to itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from orchestrator.model.token_batch import Blocks

PLAIN, IN_BLOCKS = "sdpa", "sdpa in blocks"
"""The names, in transformers' registry, of a model's default attention and of the attention in blocks."""


def can_be_chosen(model: nn.Module) -> bool:
    """Return whether the architecture's attention can be exchanged."""
    return bool(getattr(model, "_can_set_attn_implementation", bool)())


def use(model: nn.Module, name: str) -> None:
    """Choose the model's attention by its name, `PLAIN` or `IN_BLOCKS`.

    Transformers raises its own error if a part of the model cannot take this attention.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(IN_BLOCKS, _attention_in_blocks)
    AttentionMaskInterface.register(IN_BLOCKS, sdpa_mask)
    model.set_attn_implementation(name)  # type: ignore[operator]


def _attention_in_blocks(
    module: nn.Module,
    query_BHTD: Tensor,
    key_BHTD: Tensor,
    value_BHTD: Tensor,
    mask: Tensor | None,
    blocks: Blocks = (),
    **options: Any,
) -> tuple[Tensor, None]:
    """Return torch's attention (B, T, H, D). With ``blocks`` each row attends only to itself; T spans all blocks."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    attend: Any = sdpa_attention_forward
    if not blocks:
        whole_BTHD, _ = attend(module, query_BHTD, key_BHTD, value_BHTD, mask, **options)
        return whole_BTHD, None
    sizes = [rows * length for rows, length in blocks]
    cut = (torch.split(whole, sizes, 2) for whole in (query_BHTD, key_BHTD, value_BHTD))
    parts = []
    for block, *of_block in zip(blocks, *cut, strict=True):
        query, key, value = (tensor[0].unflatten(1, block).transpose(0, 1) for tensor in of_block)
        part_BTHD, _ = attend(module, query, key, value, None, **options)
        parts.append(part_BTHD.flatten(0, 1))
    return torch.cat(parts)[None], None
