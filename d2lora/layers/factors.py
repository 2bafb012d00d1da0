"""Builds the thin factors of adapted layers; layers of one shape are built together, as if they were more lanes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from d2lora.device_profile import profile_of
from d2lora.kernels.factored import Factored
from d2lora.layers.lanes import Group, LaneLayer
from d2lora.methods import get_method
from d2lora.norms.base_weight import BaseWeights
from d2lora.products.autocast import without_autocast


def build_factors(layers: Sequence[LaneLayer], active: Sequence[int]) -> Factored:
    """Return the factors of the ``active`` lanes of layers of one shape, stacked: the first layer's lanes first."""
    parts = factors_by_group(layers, active)
    owners = [(layer, lane) for lanes, _ in parts for layer in range(len(layers)) for lane in lanes]
    return _stacked_parts([thin for _, thin in parts], owners)


def factors_by_group(layers: Sequence[LaneLayer], active: Sequence[int]) -> list[tuple[list[int], Factored]]:
    """Return, for each group of lanes, its ``active`` lanes and their factors over all of ``layers``.

    A group without active lanes is left out.
    """
    groups = [(group, group.among(active)) for group in layers[0].groups]
    return [(lanes, _factored(layers, group, lanes)) for group, lanes in groups if lanes]


def built_with(layer: LaneLayer, layers: Sequence[LaneLayer], active: Sequence[int]) -> list[LaneLayer]:
    """Return the layers of ``layers`` to build in one set of operations with ``layer``, ``layer`` itself included.

    The layers have one shape, and together at most ``built_together`` trained numbers in the active lanes
    (`device_profile`).
    """
    alike = [other for other in layers if other.shape == layer.shape]
    numbers = sum(parameter.numel() for lane in active for parameter in layer.params(lane).values())
    size = max(1, profile_of(layer.weight.device).built_together // numbers)
    begin = next(index for index, other in enumerate(alike) if other is layer) // size * size
    return alike[begin : begin + size]


def _factored(layers: Sequence[LaneLayer], group: Group, lanes: Sequence[int]) -> Factored:
    """Return the factors of these lanes of one group, over all layers."""
    each = [layer.params(lane) for layer in layers for lane in lanes]
    stacked = {name: _stacked([params[name] for params in each]) for name in each[0]}
    base = layers[0].base if len(layers) == 1 else BaseWeights([layer.base for layer in layers], len(lanes))
    with without_autocast(layers[0].weight):
        return get_method(group.method).factored(base, stacked, group.config)


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    """Return the tensors with a leading lane dimension; a single tensor is not copied."""
    return torch.stack(list(tensors)) if len(tensors) > 1 else tensors[0][None]


def _stacked_parts(parts: Sequence[Factored], owners: Sequence[tuple[int, int]]) -> Factored:
    """Return one `Factored` over the lanes of all parts, sorted by ``owners``: the (layer, lane) of each lane in turn.

    Smaller ranks are padded with zeros to the largest rank. A part without a scale gets ones if another part has one.
    """
    if len(parts) == 1:
        return parts[0]
    rank = max(thin.up_LOR.shape[2] for thin in parts)
    up_LOR = torch.cat([pad(thin.up_LOR, (0, rank - thin.up_LOR.shape[2])) for thin in parts])
    down_LRI = torch.cat([pad(thin.down_LRI, (0, 0, 0, rank - thin.down_LRI.shape[1])) for thin in parts])
    out_scale_LO = _stacked_scales([thin.out_scale_LO for thin in parts], [thin.up_LOR[:, :, 0] for thin in parts])
    in_scale_LI = _stacked_scales([thin.in_scale_LI for thin in parts], [thin.down_LRI[:, 0] for thin in parts])
    stacked = Factored(up_LOR, down_LRI, out_scale_LO, in_scale_LI)
    order = sorted(range(len(owners)), key=owners.__getitem__)
    if order == list(range(len(owners))):
        return stacked
    index = torch.tensor(order, device=up_LOR.device)
    return stacked.map(lambda tensor: tensor.index_select(0, index))


def _stacked_scales(scales: Sequence[Tensor | None], like: Sequence[Tensor]) -> Tensor | None:
    """Return the scales of all parts, with ones of the shape ``like`` in place of None; None if no part has one."""
    if all(scale is None for scale in scales):
        return None
    pairs = zip(scales, like, strict=True)
    return torch.cat([torch.ones_like(shape) if scale is None else scale for scale, shape in pairs])
