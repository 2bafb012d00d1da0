"""What training did to a lane's weights, in numbers: drift of norms, ranks, intruders, shares of the gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from d2lora.attachment import adapted_layers
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
from d2lora.layers.lanes import Lane
from d2lora.method import Params
from d2lora.methods import get_method
from d2lora.norms.axes import Axis
from d2lora.norms.base_weight import BaseWeight, at_least_float32

Numbers = dict[str, float]
_OVER_LAYERS: dict[str, Callable[[Sequence[float]], float]] = {"norm_drift_max": max}  # the others are means


def diagnose(
    model: nn.Module,
    lane: int = 0,
    *,
    bounds: Bounds | None = None,
    bases: Mapping[str, BaseVectors] | None = None,
    gradients: Mapping[str, Tensor] | None = None,
) -> Numbers:
    """Return the numbers of one lane: those of `diagnose_lanes`, and those of `lane_shares` where ``gradients`` are.

    docs/diagnostics.md says of each what may be concluded from it and what not.
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
    """Return what the weights of each lane tell, means over layers (of ``norm_drift_max`` the maximum).

    Of all adapted layers, from thin factors: ``norm_drift_mean``, ``norm_drift_max``, ``effective_rank`` and
    ``stable_rank``. Of `chosen_layers`: ``intruders``, ``intruders_repaired``, ``update_effective_rank`` (absent where
    that is beyond ``bounds``). ``bases`` is `base_spectra`, to be made once where lanes are diagnosed one by one.
    ValueError where weights are not whole: ZeRO-3 scatters them.
    """
    bounds = bounds or Bounds()
    if not base_is_whole(model):
        raise ValueError("The base weights are not whole on this rank: gather them first, or train below ZeRO stage 3.")
    bases = base_spectra(model, bounds) if bases is None else bases
    found: dict[int, list[Numbers]] = {lane: [] for lane in lanes}
    for name, layer in adapted_layers(model).items():
        for members, thin in layer.thin(lanes):
            each = thin_numbers(layer.base, thin, axis_of(layer.lanes[members[0]]))
            for place, lane in enumerate(members):
                found[lane].append(each[place])
                if name in bases:
                    alone = thin.map(lambda tensor, place=place: tensor[place : place + 1])  # type: ignore[misc]
                    found[lane][-1] |= dense_numbers(layer, lane, alone, bases[name], bounds)
    return {lane: _over_layers(each) for lane, each in found.items()}


def lane_shares(model: nn.Module, lane: int, gradients: Mapping[str, Tensor]) -> Numbers:
    """Return the mean of `gradient_shares` over the layers that ``gradients`` names; empty where there is none.

    ``gradients[layer]`` (O, I) is that of the lane's effective weight (`d2lora.watch.effective_gradients`).
    """
    layers = adapted_layers(model)
    each = [
        gradient_shares(at_least_float32(layers[name].weight), layers[name].params(lane), layers[name].lanes[lane], one)
        for name, one in gradients.items()
    ]
    return _over_layers(each)


def base_is_whole(model: nn.Module) -> bool:
    """Tell whether this rank holds every adapted layer's frozen weight; ValueError for a model without adapters."""
    layers = adapted_layers(model)
    if not layers:
        raise ValueError("The model has no adapters: call d2lora.attach first.")
    return all(layer.weight.shape == (layer.out_features, layer.in_features) for layer in layers.values())


def chosen_layers(model: nn.Module, bounds: Bounds) -> list[str]:
    """Return the names of ``bounds.layers`` adapted layers from the first to the last, evenly spread."""
    names = list(adapted_layers(model))
    count = min(bounds.layers, len(names))
    steps = max(count - 1, 1)
    return [names[(place * (len(names) - 1)) // steps] for place in range(count)]


def base_spectra(model: nn.Module, bounds: Bounds) -> dict[str, BaseVectors]:
    """Return the frozen weights' vectors of the chosen layers: the dearest part, and the same for every lane."""
    layers = adapted_layers(model)
    return {name: base_vectors(layers[name].weight, bounds) for name in chosen_layers(model, bounds)}


def thin_numbers(base: BaseWeight, thin: Factored, axis: Axis) -> list[Numbers]:
    """Return what thin factors tell of each of their lanes: drift of norms, ranks of the low-rank part as it acts.

    The low-rank part of LoRA is its whole update. A projected update has beside it a scale on W, whose effect is in
    ``update_effective_rank`` (`dense_numbers`). Costs 2 O I R operations a lane.
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


def axis_of(lane: Lane) -> Axis:
    """Return which way the lane's method takes norms; "out" where it takes none."""
    axis: Axis = getattr(lane.config, "norm_axis", "out")
    return axis


def norm_drift(base: BaseWeight, thin: Factored, axis: Axis) -> Tensor:
    """Return ``|What_k| / |W_k| - 1`` a lane for every column k with a norm; a column is an output unit for "out".

    From thin products: with left and right the factors (for "in" with the sides exchanged) and s the scale on this
    axis, ``|What|^2 = s^2 |W|^2 + sum_R left * (2 s P + left (right right^T))`` with ``P = W right^T``. ValueError for
    a scale on the other axis: what it does to a norm is not thin.
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
    there_K = before2_K > 0
    return (after2_LK[:, there_K].clamp_min(0) / before2_K[there_K]).sqrt() - 1


def dense_numbers(layer: AdaptedLinear, lane: int, thin: Factored, base: BaseVectors, bounds: Bounds) -> Numbers:
    """Return what only the dense weight tells: intruders, and the effective rank of ``What - W``, where affordable.

    ``thin`` is the lane's own. Without a scale on W the update is its low-rank part: its rank is had at any size.
    """
    found = count_intruders(layer.effective_weight(lane), thin.up_LOR[0], base, bounds)
    numbers = {"intruders": float(found.found), "intruders_repaired": float(found.left)}
    if thin.out_scale_LO is None and thin.in_scale_LI is None:
        numbers["update_effective_rank"] = float(effective_rank(product_values(thin.up_LOR, thin.down_LRI)))
    elif min(layer.out_features, layer.in_features) <= bounds.whole_side:
        numbers["update_effective_rank"] = float(effective_rank(dense_values(whole_update(layer, lane))))
    return numbers


def whole_update(layer: AdaptedLinear, lane: int) -> Tensor:
    """Return ``What - W`` (O, I) in float64: float32 would leave rounding of full rank where the update is small."""
    spec = layer.lanes[lane]
    with torch.no_grad():
        wide_OI = layer.weight.double()
        params = {name: value.double() for name, value in layer.params(lane).items()}
        return get_method(spec.method).effective_weight(wide_OI, params, spec.config) - wide_OI


def gradient_shares(weight_OI: Tensor, params: Params, lane: Lane, gradient_OI: Tensor) -> Numbers:
    """Return the share of the squared gradient of ``V = W + dW`` along V's columns, and the share across them.

    ``gradient_OI`` is that of the effective weight; it is carried back to V, of which the effective weight is a
    function, through the method's own projection. ``radial = sum_k (G_k . V_k / |V_k|)^2 / |G|^2`` over the columns of
    the method's axis, and ``tangential = 1 - radial``. A projection that carries gradient lets nothing radial through;
    a gradient without any preference has a radial share of one over a column's length. Empty for a gradient of zero.
    """
    method = get_method(lane.method)
    fixed = {name: value.detach().to(weight_OI) for name, value in params.items()}
    update_OI = method.update(fixed, lane.config).requires_grad_()
    with torch.enable_grad():
        acting_OI = method.with_update(weight_OI.detach(), update_OI, fixed, lane.config)
    (back_OI,) = torch.autograd.grad(acting_OI, update_OI, gradient_OI.to(acting_OI))
    dim = 1 if axis_of(lane) == "out" else 0
    unit_OI = normalize(weight_OI.detach() + update_OI.detach(), dim=dim, eps=1e-30)
    along2, total = torch.stack([(back_OI * unit_OI).sum(dim).square().sum(), back_OI.square().sum()]).tolist()
    if not (total > 0 and math.isfinite(total)):
        return {}
    return {"radial_share": along2 / total, "tangential_share": 1 - along2 / total}


def _over_layers(each: Sequence[Numbers]) -> Numbers:
    """Return one number a name over the layers that have it."""
    names = dict.fromkeys(name for numbers in each for name in numbers)
    return {name: _OVER_LAYERS.get(name, fmean)([one[name] for one in each if name in one]) for name in names}
