"""Attention that knows blocks of rows: where many follow one another in a single one, each sees itself alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from orchestrator.model.token_batch import Blocks

PLAIN, IN_BLOCKS = "sdpa", "sdpa in blocks"
"""What transformers calls the attention that a model has by default, and this one."""


def can_be_chosen(model: nn.Module) -> bool:
    """Return whether the architecture lets one choose how it attends."""
    return bool(getattr(model, "_can_set_attn_implementation", bool)())


def use(model: nn.Module, name: str) -> None:
    """Choose how the model attends; what parts of it raise that cannot is transformers' own."""
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
    """Attend as torch does; of one row in blocks of rows, each block by itself. Return (B, T, H, D)."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    attend: Any = sdpa_attention_forward
    if not blocks:
        whole_BTHD, _ = attend(module, query_BHTD, key_BHTD, value_BHTD, mask, **options)
        return whole_BTHD, None
    sizes = [rows * length for rows, length in blocks]
    cut = (torch.split(whole, sizes, 2) for whole in (query_BHTD, key_BHTD, value_BHTD))
    parts = []
    for block, *one in zip(blocks, *cut, strict=True):
        query, key, value = (tensor[0].unflatten(1, block).transpose(0, 1) for tensor in one)
        part_BTHD, _ = attend(module, query, key, value, None, **options)
        parts.append(part_BTHD.flatten(0, 1))
    return torch.cat(parts)[None], None
