"""A lane's adapter outside of the model: its tensors as a dict, and its method and settings as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from d2lora.attachment import layers_with_lane
from d2lora.layers.lanes import Lane
from d2lora.methods import get_method


def adapter_state(model: nn.Module, lane: int = 0) -> dict[str, Tensor]:
    """Return copies of the lane's tensors, named ``LAYER.PARAMETER`` (``model.layers.0.self_attn.q_proj.up_plus``).

    ValueError: no adapters, or no such lane.

    >>> import d2lora, torch
    >>> model, lora = torch.nn.Sequential(torch.nn.Linear(8, 4)), d2lora.get_method("lora").Config(rank=2)
    >>> {name: value.shape for name, value in d2lora.adapter_state(d2lora.attach(model, "lora", lora, ["0"])).items()}
    {'0.up': torch.Size([4, 2]), '0.down': torch.Size([2, 8])}
    """
    return {name: tensor.detach().clone() for name, tensor in adapter_parameters(model, lane).items()}


def adapter_parameters(model: nn.Module, lane: int = 0) -> dict[str, Tensor]:
    """Return the lane's trained parameters themselves, by the names of `adapter_state`: for an optimizer.

    ValueError: no adapters, or no such lane.

    >>> import d2lora, torch
    >>> model, lora = torch.nn.Sequential(torch.nn.Linear(8, 4)), d2lora.get_method("lora").Config(rank=2)
    >>> model = d2lora.attach(model, "lora", lora, ["0"], lanes=2)
    >>> optimizer = torch.optim.AdamW(d2lora.adapter_parameters(model, lane=1).values(), lr=1e-3)
    """
    return {
        f"{layer_name}.{name}": parameter
        for layer_name, layer in layers_with_lane(model, lane).items()
        for name, parameter in layer.params(lane).items()
    }


def load_adapter_state(model: nn.Module, state: Mapping[str, Tensor], lane: int = 0) -> None:
    """Copy ``state``, as `adapter_state` returns it, into the lane.

    ValueError, with nothing copied: names or shapes that differ from the lane's, no adapters, or no such lane.

    >>> import d2lora, torch
    >>> model, lora = torch.nn.Sequential(torch.nn.Linear(8, 4)), d2lora.get_method("lora").Config(rank=2)
    >>> model = d2lora.attach(model, "lora", lora, ["0"], lanes=2)
    >>> d2lora.load_adapter_state(model, d2lora.adapter_state(model, lane=1), lane=0)
    >>> torch.equal(model[0].down_0, model[0].down_1)
    True
    """
    wanted = adapter_parameters(model, lane)
    missing, extra = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if missing or extra:
        raise ValueError(
            f"The state does not fit lane {lane}: {len(missing)} tensors are missing {missing[:3]}, "
            f"{len(extra)} are unknown {extra[:3]}. Was it saved with other targets or another method? "
            "Attach a lane with those."
        )
    for name, parameter in wanted.items():
        if state[name].shape != parameter.shape:
            raise ValueError(
                f"{name} has shape {tuple(state[name].shape)}, the lane needs {tuple(parameter.shape)}. "
                "Take an adapter of this model."
            )
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(state[name])


def describe_adapter(model: nn.Module, lane: int = 0) -> dict[str, Any]:
    """Return the lane's method, settings and layers as plain data, for a file beside the tensors.

    ``layers`` maps the name of each adapted layer to its out and in features. ValueError: no adapters, or no such lane.

    >>> import d2lora, torch
    >>> model, lora = torch.nn.Sequential(torch.nn.Linear(8, 4)), d2lora.get_method("lora").Config(rank=2)
    >>> described = d2lora.describe_adapter(d2lora.attach(model, "lora", lora, ["0"]))
    >>> described["method"], described["layers"]
    ('lora', {'0': [4, 8]})
    """
    layers = layers_with_lane(model, lane)
    spec = next(iter(layers.values())).lanes[lane]
    return {
        "method": spec.method,
        "config": asdict(spec.config),
        "layers": {name: [layer.out_features, layer.in_features] for name, layer in layers.items()},
    }


def lane_of(description: Mapping[str, Any], seed: int = 0) -> Lane:
    """Return the `Lane` for a description by `describe_adapter`, which does not hold the seed.

    ValueError for an unknown method or impossible settings, TypeError for an unknown setting.

    >>> import d2lora
    >>> described = {"method": "lora", "config": {"rank": 2}, "layers": {"q_proj": [4, 8]}}
    >>> d2lora.lane_of(described, seed=3)
    Lane(method='lora', config=LoraConfig(rank=2, alpha=16.0, dropout=0.0, start='kaiming'), seed=3)
    """
    method = str(description["method"])
    return Lane(method, get_method(method).Config(**description["config"]), seed)


def print_trainable_parameters(model: nn.Module) -> None:
    """Print how many of the model's parameters are trained, and how many trained parameters each lane has.

    ValueError for a model without adapters.

    >>> import d2lora, torch
    >>> model, lora = torch.nn.Sequential(torch.nn.Linear(8, 4)), d2lora.get_method("lora").Config(rank=2)
    >>> d2lora.print_trainable_parameters(d2lora.attach(model, "lora", lora, ["0"], lanes=2))
    48 of 84 parameters are trained (57.14 %): lane 0, lora of rank 2: 24; lane 1, lora of rank 2: 24.
    """
    lanes = next(iter(layers_with_lane(model, 0).values())).lanes
    sizes = [sum(value.numel() for value in adapter_parameters(model, lane).values()) for lane in range(len(lanes))]
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    total = sum(parameter.numel() for parameter in model.parameters())
    by_lane = "; ".join(
        f"lane {index}, {lane}: {size:,}" for index, (lane, size) in enumerate(zip(lanes, sizes, strict=True))
    )
    line = f"{trained:,} of {total:,} parameters are trained ({100 * trained / total:.2f} %): {by_lane}."
    print(line)  # noqa: T201 - the purpose of the function
