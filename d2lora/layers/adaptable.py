"""Which layers can be adapted, and for every other linear layer the reason why it cannot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.utils.parametrize import is_parametrized

from d2lora.layers.frozen import FrozenLinear
from d2lora.names import last_parts, matching

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Unfit(NamedTuple):
    """Why a layer cannot be adapted, and what the user can do about it, in one or two sentences each."""

    reason: str
    advice: str


class UnadaptableError(ValueError):
    """A pattern matches a linear layer that cannot be adapted; ``reason`` is the message without the advice."""

    def __init__(self, name: str, kind: str, unfit: Unfit) -> None:
        self.reason = f"{name} is a {kind} that cannot be adapted: {unfit.reason}"
        super().__init__(f"{self.reason} {unfit.advice}")


def match_targets(model: nn.Module, targets: Sequence[str]) -> list[str]:
    """Return the names of the linear layers that at least one pattern in ``targets`` matches, in model order.

    ``*`` in a pattern stands for any text. A pattern without dot or star is the last part of a name: ``q_proj`` means
    ``*.q_proj``. A layer with several names is matched by each of its names, and returned once, by its first name.

    ValueError: no patterns, or a pattern that matches no linear layer (the message lists the layers there are).
    `UnadaptableError`, a ValueError: a pattern matches a linear layer that cannot be adapted, with the reason.

    >>> match_targets(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)), ["2"])
    ['2']
    """
    if not targets:
        raise ValueError("No targets: name the layers to adapt, for example ['q_proj', 'v_proj'].")
    modules = dict(model.named_modules(remove_duplicate=False))
    unfit = unfit_layers(model)
    chosen: set[int] = set()
    for pattern in targets:
        named = matching(modules, pattern)
        linear = [name for name in named if isinstance(modules[name], nn.Linear)]
        if not linear:
            raise ValueError(_no_match(pattern, modules, named, unfit))
        for name in linear:
            if id(modules[name]) in unfit:
                raise UnadaptableError(name, type(modules[name]).__name__, unfit[id(modules[name])])
            chosen.add(id(modules[name]))
    return [name for name, module in model.named_modules() if id(module) in chosen]


def unfit_layers(model: nn.Module) -> dict[int, Unfit]:
    """Return the reason for every linear layer of ``model`` that cannot be adapted, by the ``id`` of the layer."""
    heads = {id(module.out_proj) for module in model.modules() if isinstance(module, nn.MultiheadAttention)}
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    reasons = {id(layer): _READS_ITSELF if id(layer) in heads else _why_not(layer) for layer in linear}
    return {layer: reason for layer, reason in reasons.items() if reason is not None}


_READS_ITSELF = Unfit(
    "nn.MultiheadAttention reads its weight and never calls it, so an adapter would have no effect.",
    "Leave it out of the targets.",
)


_WHOLE = "Adapt the model before it is sharded, and load it without quantisation."


def _why_not(layer: nn.Linear) -> Unfit | None:
    """Return why ``layer`` cannot be adapted; None if adapting it would only add an update to what it computes."""
    weight = layer._parameters.get("weight")
    if is_parametrized(layer) or weight is None:
        return Unfit(
            "its weight is computed from other tensors (a parametrisation, or weight norm).",
            "Remove that first, for example with torch.nn.utils.parametrize.remove_parametrizations.",
        )
    if type(layer).forward not in (nn.Linear.forward, FrozenLinear.forward):
        return Unfit(
            "its class has a forward of its own, which an adapter would replace.",
            "Load the model with nn.Linear there, or leave the layer out of the targets.",
        )
    if "forward" in vars(layer):
        return Unfit(
            "its forward was replaced, and an adapter would replace that forward in turn.",
            "Adapt the layer before its forward is replaced, or leave it out of the targets.",
        )
    if type(weight) is not nn.Parameter and not isinstance(weight, FakeTensor):
        return Unfit(f"its weight is a {type(weight).__name__}.", _WHOLE)
    if weight.dtype not in FLOATS or tuple(weight.shape) != (layer.out_features, layer.in_features):
        shape = " x ".join(map(str, weight.shape))
        return Unfit(
            f"its weight is {shape} of {weight.dtype}, where {layer.out_features} x {layer.in_features} floating-point "
            "numbers belong.",
            _WHOLE,
        )
    return None


def check_loaded(model: nn.Module, names: Iterable[str]) -> None:
    """Raise ValueError if one of the named layers is on the meta device, where tensors have no numbers."""
    for name in names:
        if model.get_submodule(name).weight.is_meta:
            raise ValueError(f"{name} is on the meta device, without weights: load the weights, then attach.")


def _no_match(pattern: str, modules: Mapping[str, nn.Module], named: Sequence[str], unfit: Mapping[int, Unfit]) -> str:
    """Return the message for a pattern that matches no linear layer.

    The message names a layer of another kind that the pattern matches, if any, and the model's linear layers.
    """
    linear = [name for name, layer in modules.items() if isinstance(layer, nn.Linear) and id(layer) not in unfit]
    there = f"There are: {last_parts(linear)}." if linear else "The model has none, so it cannot be adapted."
    others = [name for name in named if next(modules[name].parameters(recurse=False), None) is not None]
    if not others:
        return f"Target {pattern!r} matches no linear layer of the model. {there}"
    kind = type(modules[others[0]]).__name__
    return f"Target {pattern!r} matches {others[0]}, a {kind}: only nn.Linear can be adapted. {there}"
