"""The last layer where answers are read and nowhere else: its other outputs would be computed for nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from d2lora import lane_places

NAMES = ("self_attn.q_proj", "self_attn.o_proj", "post_attention_layernorm", "mlp")
"""What treats each token by itself in a layer, after its keys and values, which later tokens need."""
FINAL = "norm"
"""The same after the last layer."""


_MARK = "computes_last_layer_at_answers"


def make_narrow(model: nn.Module, narrow: bool) -> None:
    """Choose whether ``model`` may be computed so; what is copied from it is as it is."""
    setattr(model, _MARK, narrow)


def is_narrow(model: nn.Module) -> bool:
    """Return whether `make_narrow` has chosen so."""
    return bool(getattr(model, _MARK, False))


@contextmanager
def only_at(model: nn.Module, where_A: Tensor, rows: int, length: int) -> Iterator[None]:
    """Within: the last layer of ``model`` computes the places ``where_A`` of a batch (rows, length), 0 elsewhere.

    Keys and values it has everywhere. It ends with the forward: one that runs again in backward, as under gradient
    checkpointing, would compute all.
    """
    where_A = torch.unique(where_A)  # sorted, as lanes are
    at = lane_places(model, where_A, rows, length)
    with ExitStack() as stack:
        for part in token_wise(model):
            stack.enter_context(_narrow(part, where_A, at))
        yield


def token_wise(model: nn.Module) -> list[nn.Module]:
    """Return the parts of the last layer, and after it, that treat each token by itself, as far as names tell."""
    decoder: Any = model.base_model
    layers = getattr(decoder, "layers", None)
    if not isinstance(layers, nn.ModuleList) or not layers:
        return []
    named = dict(layers[-1].named_modules())
    found = [*(named.get(name) for name in NAMES), getattr(decoder, FINAL, None)]
    return [part for part in found if isinstance(part, nn.Module)]


@contextmanager
def _narrow(part: nn.Module, where_A: Tensor, at: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    whole = part.forward

    def forward(x_BTI: Tensor) -> Tensor:
        x_A1I = x_BTI.flatten(0, 1).index_select(0, where_A)[:, None]
        with at():
            y_AO = whole(x_A1I)[:, 0]
        y_MO: Tensor = y_AO.new_zeros(x_BTI.shape[:-1].numel(), y_AO.shape[-1]).index_copy(0, where_A, y_AO)
        return y_MO.view(*x_BTI.shape[:-1], -1)

    part.forward = forward
    try:
        yield
    finally:
        del part.forward
