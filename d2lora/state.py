"""An adapter as a dict of tensors plus a plain description; to and from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from d2lora.attachment import adapted_layers
from d2lora.layer import AdaptedLinear, Lane
from d2lora.registry import get_method


def adapter_layers(model: nn.Module, lane: int) -> dict[str, AdaptedLinear]:
    """Return the adapted layers by name; ValueError if there are none, or if they have no such lane."""
    layers = adapted_layers(model)
    if not layers:
        raise ValueError("The model has no adapters: call d2lora.attach first.")
    lanes = len(next(iter(layers.values())).lanes)
    if not 0 <= lane < lanes:
        raise ValueError(f"lane={lane} is not among the model's {lanes} lanes.")
    return layers


def adapter_state(model: nn.Module, lane: int = 0) -> dict[str, Tensor]:
    """Return copies of the lane's tensors, named ``LAYER.PARAMETER`` (``model.layers.0.self_attn.q_proj.up_plus``).

    >>> import d2lora, torch
    >>> model, lora = torch.nn.Sequential(torch.nn.Linear(8, 4)), d2lora.get_method("lora").Config(rank=2)
    >>> {name: value.shape for name, value in d2lora.adapter_state(d2lora.attach(model, "lora", lora, ["0"])).items()}
    {'0.up': torch.Size([4, 2]), '0.down': torch.Size([2, 8])}
    """
    return {name: tensor.detach().clone() for name, tensor in adapter_parameters(model, lane).items()}


def adapter_parameters(model: nn.Module, lane: int = 0) -> dict[str, Tensor]:
    """Return the lane's trained parameters themselves, by the same names."""
    return {
        f"{layer_name}.{name}": parameter
        for layer_name, layer in adapter_layers(model, lane).items()
        for name, parameter in layer.params(lane).items()
    }


def load_adapter_state(model: nn.Module, state: Mapping[str, Tensor], lane: int = 0) -> None:
    """Copy ``state`` into the lane; ValueError, with nothing copied, unless names and shapes are exactly the lane's."""
    wanted = adapter_parameters(model, lane)
    missing, extra = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if missing or extra:
        raise ValueError(
            f"The state does not fit lane {lane}: {len(missing)} tensors are missing {missing[:3]}, "
            f"{len(extra)} are unknown {extra[:3]}. Was it saved with other targets or another method?"
        )
    for name, parameter in wanted.items():
        if state[name].shape != parameter.shape:
            raise ValueError(f"{name} has shape {tuple(state[name].shape)}, the lane needs {tuple(parameter.shape)}.")
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(state[name])


def describe_adapter(model: nn.Module, lane: int = 0) -> dict[str, Any]:
    """Return the lane's method, settings and shapes as plain data: what a file needs beside the tensors."""
    layers = adapter_layers(model, lane)
    spec = next(iter(layers.values())).lanes[lane]
    return {
        "method": spec.method,
        "config": asdict(spec.config),
        "layers": {name: [layer.out_features, layer.in_features] for name, layer in layers.items()},
    }


def lane_of(description: Mapping[str, Any], seed: int = 0) -> Lane:
    """Return the lane that `describe_adapter` described."""
    method = str(description["method"])
    return Lane(method, get_method(method).Config(**description["config"]), seed)
