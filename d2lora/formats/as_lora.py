"""A lane as an ordinary LoRA in PEFT's format: exactly, or as the nearest LoRA of a given rank, with its error."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from d2lora.attachment import layers_with_lane
from d2lora.formats.peft_files import LoraExport, exported
from d2lora.layers.adapted import AdaptedLinear
from d2lora.method import PeftForm
from d2lora.methods import get_method
from d2lora.norms.base_weight import at_least_float32

ROUNDING = 1e-6
"""Singular values below this share of the largest are rounding in float32, not part of an update."""


def to_lora(model: nn.Module, lane: int = 0, rank: int | None = None, energy: float | None = None) -> LoraExport:
    """Return the lane's update ``What - W`` as an ordinary LoRA, with its relative error (`LoraExport`).

    With ``rank``, every layer gets that rank. With ``energy`` in (0, 1], every layer gets the least rank that keeps
    this share of the update's squared Frobenius norm. Both truncate singular values, so no LoRA of the same ranks is
    nearer to the update (Eckart and Young, 1936).

    With neither, the update is kept whole. LoRA, and D2-LoRA without projection, return their own factors. For other
    methods every layer gets the numerical rank of its update. A projected update has full rank, so the LoRA is as large
    as the weight; `d2lora.save` writes DoRA, and D2-LoRA with readd=0, at their own rank instead.

    The singular values come from thin factors if the update is their product, else from one dense matrix (O, I) per
    layer. ValueError: ``rank`` and ``energy`` together or out of range, no adapters, or no such lane.

    >>> import d2lora, torch
    >>> model, config = torch.nn.Sequential(torch.nn.Linear(8, 6)), d2lora.get_method("d2lora").Config(rank=2)
    >>> model = d2lora.attach(model, "d2lora", config, ["0"])
    >>> _ = model[0].up_plus_0.data.normal_(), model[0].up_minus_0.data.normal_()  # in place of training
    >>> export = d2lora.to_lora(model, rank=3)
    >>> export.config["r"], 0 < export.error < 1
    (3, True)
    """
    if rank is not None and energy is not None:
        raise ValueError("Give rank or energy, not both.")
    if rank is not None and rank < 1:
        raise ValueError(f"rank={rank} is not positive.")
    if energy is not None and not 0 < energy <= 1:
        raise ValueError(f"energy={energy} is not in (0, 1].")
    forms = {name: _form(layer, lane) for name, layer in layers_with_lane(model, lane).items()}
    if rank is None and energy is None and all(form and form.magnitude_O is None for form in forms.values()):
        return exported(model, {name: _unscaled(form) for name, form in forms.items() if form is not None})
    cuts = {
        name: _cut(_singular(layer, lane, forms[name]), rank, energy)
        for name, layer in layers_with_lane(model, lane).items()
    }
    whole2 = sum(cut.whole2 for cut in cuts.values())
    error = (sum(cut.lost2 for cut in cuts.values()) / whole2) ** 0.5 if whole2 else 0.0
    return exported(model, {name: cut.form for name, cut in cuts.items()}, error=error)


def exact_form(model: nn.Module, lane: int) -> LoraExport | None:
    """Return the lane as a LoRA or DoRA of PEFT's that computes exactly the same; None if there is no such form."""
    forms: dict[str, PeftForm] = {}
    for name, layer in layers_with_lane(model, lane).items():
        form = _form(layer, lane)
        if form is None:
            return None
        forms[name] = form
    dropout = next(iter(layers_with_lane(model, lane).values())).lanes[lane].config.dropout
    return exported(model, forms, dropout)


def _form(layer: AdaptedLinear, lane: int) -> PeftForm | None:
    spec = layer.lanes[lane]
    with torch.no_grad():
        return get_method(spec.method).as_peft(layer.base, layer.params(lane), spec.config)


def _unscaled(form: PeftForm) -> PeftForm:
    """Return the same LoRA with a scale of 1, which PEFT stores as an alpha equal to the rank."""
    return PeftForm(form.up_OR, form.scale * form.down_RI, 1.0)


@dataclass(frozen=True)
class _Cut:
    """A layer's update at the kept rank, and two squared norms: of the part that was cut off, and of the update."""

    form: PeftForm
    lost2: float
    whole2: float


Singular = tuple[Tensor, Tensor, Tensor]
"""Left vectors (O, K), values (K), and right vectors (K, I)."""


def _singular(layer: AdaptedLinear, lane: int, form: PeftForm | None) -> Singular:
    """Return the singular vectors and values of the layer's update.

    Both are computed from the thin factors if ``form`` is a LoRA, else from the dense update.
    """
    if form is None or form.magnitude_O is not None:
        delta_OI = layer.effective_weight(lane) - at_least_float32(layer.weight.detach())
        left_OK, values_K, right_KI = torch.linalg.svd(delta_OI, full_matrices=False)
        return left_OK, values_K, right_KI
    left_OR, upper_RR = torch.linalg.qr(form.up_OR.detach())
    right_IR, lower_RR = torch.linalg.qr(form.scale * form.down_RI.detach().mT)
    inner_RK, values_K, inner_KR = torch.linalg.svd(upper_RR @ lower_RR.mT)
    return left_OR @ inner_RK, values_K, inner_KR @ right_IR.mT


def _cut(singular: Singular, rank: int | None, energy: float | None) -> _Cut:
    left_OK, values_K, right_KI = singular
    kept = min(rank, len(values_K)) if rank is not None else _kept(values_K, energy)
    root_K = values_K[:kept].sqrt()
    form = PeftForm(left_OK[:, :kept] * root_K, root_K[:, None] * right_KI[:kept], 1.0)
    return _Cut(form, float(values_K[kept:].square().sum()), float(values_K.square().sum()))


def _kept(values_K: Tensor, energy: float | None) -> int:
    """Return how many singular values to keep, at least one: for ``energy``, or with None all that are not rounding."""
    if energy is None:
        return max(1, int((values_K > ROUNDING * values_K[0]).sum()))
    share_K = values_K.square().cumsum(0) / values_K.square().sum().clamp_min(1e-300)
    return min(len(values_K), int((share_K < energy).sum()) + 1)
