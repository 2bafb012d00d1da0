"""Whether the projection acts in bfloat16: a layer's outputs, regressed on the effect of the scaling in float64."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import d2lora
from benchmarks.gpu.arms import forget, lane
from benchmarks.gpu.report import Rows
from benchmarks.gpu.scale import Scale
from benchmarks.models import RANK

UPDATES = (0.005, 0.02)
OURS = {
    "D2-LoRA, norms of outputs": ("d2lora", {"norm_axis": "out"}),
    "D2-LoRA, norms of inputs": ("d2lora", {"norm_axis": "in"}),
    "our DoRA": ("dora", {}),
}


def rows(scale: Scale) -> Rows:
    """Yield a row for each layer size, update and arm."""
    for size in scale.layer_sizes:
        draw = torch.Generator(scale.device).manual_seed(0)
        weight_OI = _noise(draw, size, size) / size**0.5
        weight_OI, x_MI = weight_OI.to(torch.bfloat16), _noise(draw, scale.layer_rows, size).to(torch.bfloat16)
        for update in UPDATES:
            for name, (method, settings) in OURS.items():
                acting_OI, plain_OI, y_MO = _ours(weight_OI, x_MI, update, method, settings)
                yield {"layer": size, "update": update, "arm": name} | _regressed(x_MI, acting_OI, plain_OI, y_MO)
            acting_OI, plain_OI, y_MO = _peft(weight_OI, x_MI, update)
            yield {"layer": size, "update": update, "arm": "PEFT DoRA"} | _regressed(x_MI, acting_OI, plain_OI, y_MO)
            del acting_OI, plain_OI, y_MO
            forget()


def _noise(draw: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=draw, device=draw.device)


def _ours(
    weight_OI: Tensor, x_MI: Tensor, update: float, method: str, settings: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the effective weight and the weight without scaling, both in float64, and our layer's outputs."""
    model = nn.Sequential(_linear(weight_OI))
    spec = lane(0, method, **settings)
    d2lora.attach_lanes(model, [spec], ["0"])
    params = d2lora.adapter_parameters(model, 0)
    named = {name.rpartition(".")[2]: one for name, one in params.items()}
    ups = [one for name, one in named.items() if name.startswith("up")]
    _grow(ups, update, lambda: _update(spec, named), weight_OI)
    with torch.no_grad():
        y_MO = model(x_MI)
        wide = {name: one.double() for name, one in named.items()}
        acting_OI = d2lora.get_method(method).effective_weight(weight_OI.double(), wide, spec.config)
        added_OI = (1 + getattr(spec.config, "readd", 0)) * d2lora.get_method(method).update(wide, spec.config)
    return acting_OI, weight_OI.double() + added_OI, y_MO


def _update(spec: d2lora.Lane, named: dict[str, Any]) -> Tensor:
    delta_OI: Tensor = d2lora.get_method(spec.method).update(named, spec.config)
    return delta_OI


def _peft(weight_OI: Tensor, x_MI: Tensor, update: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the effective weight, the weight without scaling, and the outputs of PEFT's DoRA."""
    from peft import LoraConfig, get_peft_model

    rank = 2 * RANK
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=["0"], use_dora=True)
    layer: Any = get_peft_model(nn.Sequential(_linear(weight_OI)), config).base_model.model[0]
    up_OR, down_RI = layer.lora_B["default"].weight, layer.lora_A["default"].weight
    _grow([up_OR], update, lambda: layer.scaling["default"] * up_OR @ down_RI, weight_OI)
    with torch.no_grad():
        y_MO = layer(x_MI)
        moved_OI = weight_OI.double() + layer.scaling["default"] * up_OR.double() @ down_RI.double()
        magnitude_O = layer.lora_magnitude_vector["default"].weight.double()
        acting_OI = moved_OI * (magnitude_O / moved_OI.norm(dim=1))[:, None]
    return acting_OI, moved_OI, y_MO


def _linear(weight_OI: Tensor) -> nn.Linear:
    outputs, inputs = weight_OI.shape
    linear = nn.Linear(inputs, outputs, bias=False, device=weight_OI.device, dtype=weight_OI.dtype)
    linear.weight.data.copy_(weight_OI)
    return linear


def _grow(ups: list[Any], update: float, updated: Any, weight_OI: Tensor) -> None:
    """Draw the ups so that the norm of the low-rank update is ``update`` times the norm of the weight."""
    draw = torch.Generator(weight_OI.device).manual_seed(1)
    with torch.no_grad():
        for up_OR in ups:
            up_OR.copy_(_noise(draw, *up_OR.shape))
        times = update * float(weight_OI.float().norm()) / float(updated().float().norm())
        for up_OR in ups:
            up_OR.mul_(times)


def _regressed(x_MI: Tensor, acting_OI: Tensor, plain_OI: Tensor, y_MO: Tensor) -> dict[str, float]:
    """Regress ``y - x plain^T`` on ``x acting^T - x plain^T``: slope 1 if the scaling acts fully, 0 if it does not act.

    "error / effect" is the norm of the outputs' error over the norm of the scaling's effect. "of rounding" is the same
    ratio for exact outputs that are rounded to bfloat16 once.
    """
    x_MI = x_MI.double()
    base_MO, wanted_MO = x_MI @ plain_OI.mT, x_MI @ acting_OI.mT
    effect_MO, got_MO = wanted_MO - base_MO, y_MO.double() - base_MO
    rounded_MO = wanted_MO.to(torch.bfloat16).double()
    return {
        "slope": float((got_MO * effect_MO).sum() / effect_MO.square().sum()),
        "error / effect": float((y_MO.double() - wanted_MO).norm() / effect_MO.norm()),
        "of rounding": float((rounded_MO - wanted_MO).norm() / effect_MO.norm()),
    }
