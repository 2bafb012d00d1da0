"""The last layer where answers are read: what it makes of other tokens, after keys and values, is for nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from d2lora import lane_places

NAMES = ("self_attn.q_proj", "self_attn.o_proj", "post_attention_layernorm", "mlp")
"""What in most architectures treats each token by itself, after keys and values; `shortcuts` tries it on the model."""
FINAL = "norm"
"""The same after the last layer."""
Forward = Callable[[Tensor], Tensor]
_MARK = "computes_last_layer_at_answers"


def make_narrow(model: nn.Module, narrow: bool) -> None:
    """Choose whether ``model`` may be computed so; what is copied from it is as it is."""
    setattr(model, _MARK, narrow)


def is_narrow(model: nn.Module) -> bool:
    """Return whether `make_narrow` has chosen so."""
    return bool(getattr(model, _MARK, False))


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
def only_at(model: nn.Module, where_A: Tensor, rows: int, length: int) -> Iterator[None]:
    """Within: those parts of ``model`` compute the places ``where_A`` of a batch (rows, length), and 0 elsewhere.

    It ends with the forward: one that runs again in backward, as under gradient checkpointing, would compute all.
    """
    where_A = torch.unique(where_A)  # sorted, as lanes are
    at = lane_places(model, where_A, rows, length)

    def narrow(whole: Forward) -> Forward:
        def forward(x_BTI: Tensor) -> Tensor:
            x_A1I = x_BTI.flatten(0, 1).index_select(0, where_A)[:, None]
            with at():
                y_AO = whole(x_A1I)[:, 0]
            y_MO: Tensor = y_AO.new_zeros(x_BTI.shape[:-1].numel(), y_AO.shape[-1]).index_copy(0, where_A, y_AO)
            return y_MO.view(*x_BTI.shape[:-1], -1)

        return forward

    with _changed(token_wise(model), narrow):
        yield


@contextmanager
def noise_but_at(model: nn.Module, where_A: Tensor) -> Iterator[None]:
    """Within: those parts get and give noise at every other place: it reaches no answer where nobody reads them."""
    generator = torch.Generator().manual_seed(0)

    def noisy(x_BTI: Tensor) -> Tensor:
        noise_BTI = torch.randn(x_BTI.shape, generator=generator).to(x_BTI)
        return noise_BTI.flatten(0, 1).index_copy(0, where_A, x_BTI.flatten(0, 1)[where_A]).view_as(x_BTI)

    with _changed(token_wise(model), lambda whole: lambda x_BTI: noisy(whole(noisy(x_BTI)))):
        yield


@contextmanager
def _changed(parts: Sequence[nn.Module], change: Callable[[Forward], Forward]) -> Iterator[None]:
    """Within: each part computes what ``change`` makes of its forward; its hooks, parameters and name stay."""
    before = [(part, vars(part).get("forward")) for part in parts]
    try:
        for part in parts:
            part.forward = change(part.forward)
        yield
    finally:
        for part, own in before:
            vars(part).pop("forward", None)
            if own is not None:
                part.forward = own
