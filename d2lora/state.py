"""An adapter as a dict of tensors plus a plain description; to and from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from d2lora.attachment import adapted_layers
from d2lora.layers.adapted import AdaptedLinear
from d2lora.layers.lanes import Lane
from d2lora.methods import get_method


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
    """Return the lane's trained parameters themselves, by the same names.

    >>> import d2lora, torch
    >>> optimizer = torch.optim.AdamW(d2lora.adapter_parameters(model, lane=1).values(), lr=1e-3)  # doctest: +SKIP
    """
    return {
        f"{layer_name}.{name}": parameter
        for layer_name, layer in adapter_layers(model, lane).items()
        for name, parameter in layer.params(lane).items()
    }


def load_adapter_state(model: nn.Module, state: Mapping[str, Tensor], lane: int = 0) -> None:
    """Copy ``state`` into the lane; ValueError, with nothing copied, unless names and shapes are exactly the lane's.

    >>> import d2lora
    >>> d2lora.load_adapter_state(model, d2lora.adapter_state(other, lane=2), lane=0)  # doctest: +SKIP
    """
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
    """Return the lane's method, settings and shapes as plain data: what a file needs beside the tensors.

    >>> import d2lora, torch
    >>> model, lora = torch.nn.Sequential(torch.nn.Linear(8, 4)), d2lora.get_method("lora").Config(rank=2)
    >>> described = d2lora.describe_adapter(d2lora.attach(model, "lora", lora, ["0"]))
    >>> described["method"], described["layers"]
    ('lora', {'0': [4, 8]})
    """
    layers = adapter_layers(model, lane)
    spec = next(iter(layers.values())).lanes[lane]
    return {
        "method": spec.method,
        "config": asdict(spec.config),
        "layers": {name: [layer.out_features, layer.in_features] for name, layer in layers.items()},
    }


def lane_of(description: Mapping[str, Any], seed: int = 0) -> Lane:
    """Return the lane that `describe_adapter` described.

    >>> import d2lora
    >>> described = {"method": "lora", "config": {"rank": 2}, "layers": {"q_proj": [4, 8]}}
    >>> d2lora.lane_of(described, seed=3)
    Lane(method='lora', config=LoraConfig(rank=2, alpha=16.0, dropout=0.0, start='kaiming'), seed=3)
    """
    method = str(description["method"])
    return Lane(method, get_method(method).Config(**description["config"]), seed)


def print_trainable_parameters(model: nn.Module) -> None:
    """Print how many of the model's parameters are trained, and how many each lane has.

    >>> import d2lora, torch
    >>> model, lora = torch.nn.Sequential(torch.nn.Linear(8, 4)), d2lora.get_method("lora").Config(rank=2)
    >>> d2lora.print_trainable_parameters(d2lora.attach(model, "lora", lora, ["0"], lanes=2))
    48 of 84 parameters are trained (57.14 %): lane 0, lora of rank 2: 24; lane 1, lora of rank 2: 24.
    """
    lanes = next(iter(adapter_layers(model, 0).values())).lanes
    sizes = [sum(one.numel() for one in adapter_parameters(model, lane).values()) for lane in range(len(lanes))]
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    whole = sum(one.numel() for one in model.parameters())
    each = "; ".join(
        f"lane {index}, {lane}: {size:,}" for index, (lane, size) in enumerate(zip(lanes, sizes, strict=True))
    )
    told = f"{trained:,} of {whole:,} parameters are trained ({100 * trained / whole:.2f} %): {each}."
    print(told)  # noqa: T201 - what it is called for
