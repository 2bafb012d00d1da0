"""Diagnoses lanes: how far norms drifted, which ranks an update has, how many of its directions are intruders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from d2lora.attachment import adapted_layers
from d2lora.diagnosis.gradients import axis_of, lane_shares
from d2lora.diagnosis.numbers import Numbers, over_layers
from d2lora.diagnosis.spectra import (
    BaseVectors,
    Bounds,
    base_vectors,
    count_intruders,
    dense_values,
    effective_rank,
    product_values,
    stable_rank,
)
from d2lora.kernels.factored import Factored
from d2lora.layers.adapted import AdaptedLinear
from d2lora.methods import get_method
from d2lora.norms.axes import Axis
from d2lora.norms.base_weight import BaseWeight, at_least_float32


def diagnose(
    model: nn.Module,
    lane: int = 0,
    *,
    bounds: Bounds | None = None,
    bases: Mapping[str, BaseVectors] | None = None,
    gradients: Mapping[str, Tensor] | None = None,
) -> Numbers:
    """Return the numbers of one lane: those of `diagnose_lanes`, and with ``gradients`` those of `lane_shares`.

    docs/diagnostics.md says what may be concluded from each number, and what may not.

    >>> import d2lora, torch
    >>> model, lora = torch.nn.Sequential(torch.nn.Linear(8, 4)), d2lora.get_method("lora").Config(rank=2)
    >>> model = d2lora.attach(model, "lora", lora, ["0"])
    >>> diagnose(model)["effective_rank"]  # before training
    0.0
    """
    numbers = diagnose_lanes(model, [lane], bounds=bounds, bases=bases)[lane]
    return numbers | lane_shares(model, lane, gradients or {})


def diagnose_lanes(
    model: nn.Module,
    lanes: Sequence[int],
    *,
    bounds: Bounds | None = None,
    bases: Mapping[str, BaseVectors] | None = None,
) -> dict[int, Numbers]:
    """Return the numbers of each lane, joined over layers by `over_layers`.

    All adapted layers give ``norm_drift_mean``, ``norm_drift_max``, ``effective_rank`` and ``stable_rank``, from thin
    factors. `chosen_layers` give ``intruders``, ``intruders_repaired`` and ``update_effective_rank``; the last is left
    out for layers larger than ``bounds`` allows. ``bases`` is the result of `base_spectra`: pass it to compute it once
    for several calls. ValueError: no adapters, or weights that ZeRO-3 has scattered over ranks.
    """
    bounds = bounds or Bounds()
    if not base_is_whole(model):
        raise ValueError("The base weights are not whole on this rank: gather them first, or train below ZeRO stage 3.")
    bases = base_spectra(model, bounds) if bases is None else bases
    by_lane: dict[int, list[Numbers]] = {lane: [] for lane in lanes}
    for name, layer in adapted_layers(model).items():
        for members, thin in layer.thin(lanes):
            each = thin_numbers(layer.base, thin, axis_of(layer.lanes[members[0]]))
            for index, lane in enumerate(members):
                by_lane[lane].append(each[index])
                if name in bases:
                    alone = thin.map(lambda tensor, index=index: tensor[index : index + 1])  # type: ignore[misc]
                    by_lane[lane][-1] |= dense_numbers(layer, lane, alone, bases[name], bounds)
    return {lane: over_layers(each) for lane, each in by_lane.items()}


def base_is_whole(model: nn.Module) -> bool:
    """Tell whether this rank holds every adapted layer's frozen weight; ValueError for a model without adapters."""
    layers = adapted_layers(model)
    if not layers:
        raise ValueError("The model has no adapters: call d2lora.attach first.")
    return all(layer.weight.shape == (layer.out_features, layer.in_features) for layer in layers.values())


def chosen_layers(model: nn.Module, bounds: Bounds) -> list[str]:
    """Return the names of ``bounds.layers`` adapted layers, evenly spread from the first to the last."""
    names = list(adapted_layers(model))
    count = min(bounds.layers, len(names))
    steps = max(count - 1, 1)
    return [names[(step * (len(names) - 1)) // steps] for step in range(count)]


def base_spectra(model: nn.Module, bounds: Bounds) -> dict[str, BaseVectors]:
    """Return the singular vectors of the chosen layers' frozen weights, by layer.

    Singular vectors are the most expensive part of a diagnosis, and the same for every lane.
    """
    layers = adapted_layers(model)
    return {name: base_vectors(layers[name].weight, bounds) for name in chosen_layers(model, bounds)}


def thin_numbers(base: BaseWeight, thin: Factored, axis: Axis) -> list[Numbers]:
    """Return, per lane of ``thin``, the drift of norms and the ranks of the low-rank part ``up @ down``.

    For LoRA the low-rank part is the whole update. A projected update also has a scale on W: the effect of the scale is
    in ``update_effective_rank`` (`dense_numbers`). Costs 2 O I R operations per lane.
    """
    drift_LK = norm_drift(base, thin, axis).abs().double()
    values_LK = product_values(thin.up_LOR, thin.down_LRI)
    columns = {
        "norm_drift_mean": drift_LK.mean(1),
        "norm_drift_max": drift_LK.amax(1),
        "effective_rank": effective_rank(values_LK),
        "stable_rank": stable_rank(values_LK),
    }
    rows = torch.stack(list(columns.values()), 1).tolist()
    return [dict(zip(columns, row, strict=True)) for row in rows]


def norm_drift(base: BaseWeight, thin: Factored, axis: Axis) -> Tensor:
    """Return ``|What_k| / |W_k| - 1`` per lane, for every column k whose norm in W is not zero: (L, K).

    A column is an output unit for "out" and an input feature for "in". The norms come from thin products. With the
    factors left and right (``up`` and ``down``; for "in" ``down^T`` and ``up^T``) and the scale s on this axis,
    ``|What|^2 = s^2 |W|^2 + sum_R left * (2 s P + left (right right^T))`` with ``P = W right^T``. ValueError for a
    scale on the other axis, whose effect on norms needs the dense weight.
    """
    ours, others = (thin.out_scale_LO, thin.in_scale_LI)[:: 1 if axis == "out" else -1]
    if others is not None:
        raise ValueError(f"The norms along {axis!r} of a weight that is scaled along the other axis are not thin.")
    left_LKR, right_LRJ = (thin.up_LOR, thin.down_LRI) if axis == "out" else (thin.down_LRI.mT, thin.up_LOR.mT)
    left_LKR, right_LRJ = at_least_float32(left_LKR), at_least_float32(right_LRJ)
    before2_K = base.norms2(axis)
    scale_LK = torch.ones_like(before2_K)[None] if ours is None else ours.to(before2_K)
    product_LKR = base.product(right_LRJ, axis)
    slope_LKR = 2 * scale_LK[:, :, None] * product_LKR + left_LKR @ (right_LRJ @ right_LRJ.mT)
    after2_LK = scale_LK.square() * before2_K + (left_LKR * slope_LKR).sum(2)
    nonzero_K = before2_K > 0
    return (after2_LK[:, nonzero_K].clamp_min(0) / before2_K[nonzero_K]).sqrt() - 1


def dense_numbers(layer: AdaptedLinear, lane: int, thin: Factored, base: BaseVectors, bounds: Bounds) -> Numbers:
    """Return the numbers that need the dense weight: intruders, and the effective rank of ``What - W``.

    ``thin`` are the factors of this lane alone. Without a scale on W, ``What - W`` is the low-rank part, whose
    effective rank comes from thin factors at any size. With a scale, the rank is left out if the weight's smaller side
    is larger than ``bounds.whole_side``.
    """
    intruders = count_intruders(layer.effective_weight(lane), thin.up_LOR[0], base, bounds)
    numbers = {"intruders": float(intruders.count), "intruders_repaired": float(intruders.after_repair)}
    if thin.out_scale_LO is None and thin.in_scale_LI is None:
        numbers["update_effective_rank"] = float(effective_rank(product_values(thin.up_LOR, thin.down_LRI)))
    elif min(layer.out_features, layer.in_features) <= bounds.whole_side:
        numbers["update_effective_rank"] = float(effective_rank(dense_values(whole_update(layer, lane))))
    return numbers


def whole_update(layer: AdaptedLinear, lane: int) -> Tensor:
    """Return ``What - W``, of shape (O, I), in float64.

    In float32 the rounding of a small update would be of full rank, and dominate its effective rank.
    """
    spec = layer.lanes[lane]
    with torch.no_grad():
        wide_OI = layer.weight.double()
        params = {name: value.double() for name, value in layer.params(lane).items()}
        return get_method(spec.method).effective_weight(wide_OI, params, spec.config) - wide_OI
