"""The table that every contract test runs: each registered method at its defaults, and its other settings."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from d2lora import available_methods, get_method
from d2lora.method import LowRankConfig, Params

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    *((method, {}) for method in available_methods()),
    ("lora", {"start": "normal"}),
    ("lora", {"start": "halves", "rank": 4}),
    ("dora", {"norm_grad": "through"}),
    *(
        ("d2lora", {"norm_axis": axis, "norm_grad": grad, "readd": readd})
        for axis, grad, readd in itertools.product(("out", "in"), ("through", "detach"), (0, 1))
    ),
    ("d2lora", {"tau": 0.0}),
    ("d2lora", {"tau": 1.0}),
    ("d2lora", {"tau": "learned"}),
    ("d2lora", {"rank_minus": 1}),
    ("d2lora", {"minus": "off"}),
    ("d2lora", {"minus": "detach"}),
    ("d2lora", {"projection": "off", "readd": 0}),
    ("d2lora", {"projection": "off", "readd": 1}),
    ("d2lora", {"start": "normal-kaiming"}),
    ("d2lora", {"start": "kaiming-kaiming"}),
]
IDS = ["-".join([method, *(f"{key}={value}" for key, value in settings.items())]) for method, settings in SETTINGS]


def config_of(method: str, settings: dict[str, Any]) -> LowRankConfig:
    return get_method(method).Config(**({"rank": 3, "alpha": 5.0} | settings))


def trained(method: str, config: LowRankConfig, weight_OI: torch.Tensor, seed: int = 0) -> Params:
    """Parameters as training leaves them: nothing at its start, everything a leaf that wants a gradient."""
    generator = torch.Generator().manual_seed(seed)
    start = get_method(method).init(weight_OI, config, generator)
    return {
        name: (value + 0.3 * torch.randn(value.shape, generator=generator, dtype=value.dtype)).requires_grad_()
        for name, value in start.items()
    }
