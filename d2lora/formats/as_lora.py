"""A lane as an ordinary LoRA in PEFT's format: exact where it can be, else the best of a given rank, with its error."""

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

EXACT = 1e-6  # what float32 rounding leaves of the relative error of an update that has the given rank


def to_lora(model: nn.Module, lane: int = 0, rank: int | None = None, energy: float | None = None) -> LoraExport:
    """Return lane's update ``What - W`` as a LoRA of ``rank``, or of the least rank a layer that keeps ``energy``.

    ``energy`` in (0, 1] is the kept share of the squared Frobenius norm. With neither, the update is kept whole: LoRA,
    and D2-LoRA without projection, give their own factors; else every layer gets the rank that its update numerically
    has, which is every rank there is for a projected one (`d2lora.save` writes DoRA, and D2-LoRA with readd=0, at their
    own rank). Truncated singular values: no LoRA of that rank is nearer (Eckart and Young, 1936). They are those of the
    thin factors where the update is their product, and of a dense O x I matrix a layer elsewhere.

    >>> import d2lora
    >>> export = d2lora.to_lora(model, lane=1, rank=16)  # doctest: +SKIP
    >>> export.error, export.save("adapters/as-lora")  # doctest: +SKIP
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
    """Return the lane as PEFT's LoRA or DoRA that computes exactly the same, or None where it is neither."""
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
    """Return a LoRA whose product is the update itself, as every `LoraExport` has it: PEFT's alpha is its rank."""
    return PeftForm(form.up_OR, form.scale * form.down_RI, 1.0)


@dataclass(frozen=True)
class _Cut:
    """A layer's update at its kept rank, and the squared norms of what was lost and of all."""

    form: PeftForm
    lost2: float
    whole2: float


Singular = tuple[Tensor, Tensor, Tensor]
"""Left vectors (O, K), values (K), and right vectors (K, I)."""


def _singular(layer: AdaptedLinear, lane: int, form: PeftForm | None) -> Singular:
    """Return the singular vectors and values of the layer's update, from thin factors where it is their product."""
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
    """Return how many singular values keep ``energy``, or all that are above rounding; at least one."""
    if energy is None:
        return max(1, int((values_K > EXACT * values_K[0]).sum()))
    share_K = values_K.square().cumsum(0) / values_K.square().sum().clamp_min(1e-300)
    return min(len(values_K), int((share_K < energy).sum()) + 1)
