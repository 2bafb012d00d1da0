"""Puts lanes of adapters on a model, takes the adapters away again, and merges one lane into a plain model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

from torch import Generator, nn

from d2lora.layers.adaptable import check_loaded, match_targets
from d2lora.layers.adapted import AdaptedLinear
from d2lora.layers.frozen import freeze, thaw
from d2lora.layers.lanes import Lane
from d2lora.layers.rows import BatchRows, SeesBatch, forget_batches
from d2lora.method import LowRankConfig
from d2lora.methods import get_method


def attach(
    model: nn.Module,
    method: str,
    config: LowRankConfig,
    targets: Sequence[str],
    lanes: int = 1,
    seeds: Sequence[int] | None = None,
) -> nn.Module:
    """Adapt the linear layers that match ``targets`` with ``lanes`` adapters of one method, in place.

    ``seeds[l]`` draws the start and the dropout of lane l; the default is 0, 1, .... All other parameters are frozen.
    Returns ``model``. ValueError: another number of seeds than lanes, and the errors of `attach_lanes`.

    >>> import d2lora, torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> config = d2lora.get_method("d2lora").Config(rank=2, alpha=4.0)
    >>> model = d2lora.attach(model, "d2lora", config, targets=["0"], lanes=3)
    >>> model(torch.zeros(6, 8)).shape  # two rows per lane
    torch.Size([6, 2])
    """
    drawn = list(range(lanes)) if seeds is None else list(seeds)
    if len(drawn) != lanes:
        raise ValueError(f"{len(drawn)} seeds for {lanes} lanes: give each lane a seed.")
    return attach_lanes(model, [Lane(method, config, seed) for seed in drawn], targets)


def attach_lanes(model: nn.Module, lanes: Sequence[Lane], targets: Sequence[str]) -> nn.Module:
    """Adapt the linear layers that match ``targets`` (see `match_targets`) with one adapter per lane, in place.

    An adapted layer stays the same object, with its names in the model, its hooks and its mode (training or
    evaluation). The other linear layers are frozen (`d2lora.freeze`). `detach` and `merge` undo both. The start of a
    lane depends only on the lane's seed, method and settings, not on the other lanes. Returns ``model``.

    ValueError, with nothing changed: no lanes, an unknown method, a pattern that matches no linear layer, a layer that
    cannot be adapted, weights that are not loaded, a model that is adapted already, a rank larger than a layer's side.

    >>> import d2lora, torch
    >>> lanes = [d2lora.Lane(name, d2lora.get_method(name).Config(rank=2), seed=7) for name in ("lora", "dora")]
    >>> model = d2lora.attach_lanes(torch.nn.Sequential(torch.nn.Linear(8, 4)), lanes, ["*"])
    >>> model[0]
    AdaptedLinear(in_features=8, out_features=4, bias=True, lanes: lora of rank 2, dora of rank 2)
    """
    if not lanes:
        raise ValueError("No lanes: attach needs one adapter or more.")
    if adapted_layers(model):
        raise ValueError("The model is adapted already: take its lanes away with d2lora.detach, or merge one.")
    for lane in lanes:
        get_method(lane.method)
    names = match_targets(model, targets)
    check_loaded(model, names)
    layers = {name: cast(nn.Linear, model.get_submodule(name)) for name in names}
    for name, layer in layers.items():
        _check_ranks(name, layer, lanes)
    freeze(model)
    batch_rows, generators = BatchRows(), [Generator().manual_seed(lane.seed) for lane in lanes]
    for name, layer in layers.items():
        AdaptedLinear.adapt(layer, name, lanes, batch_rows, generators)
    if len(lanes) > 1:
        model.register_forward_pre_hook(SeesBatch(batch_rows), with_kwargs=True)
    return model


def detach(model: nn.Module) -> nn.Module:
    """Take all adapters away, in place: every adapted layer is the frozen ``nn.Linear`` again. Returns ``model``.

    >>> import d2lora, torch
    >>> model, lora = torch.nn.Sequential(torch.nn.Linear(8, 4)), d2lora.get_method("lora").Config(rank=2)
    >>> model = d2lora.attach(model, "lora", lora, ["0"])
    >>> d2lora.detach(model)[0]
    Linear(in_features=8, out_features=4, bias=True)
    """
    for layer in adapted_layers(model).values():
        layer.restore()
    forget_batches(model)
    return thaw(model)


def merge(model: nn.Module, lane: int = 0) -> nn.Module:
    """Return a new plain model in which every adapted layer is an ``nn.Linear`` with the lane's effective weight.

    The weights have the type of the base. ValueError: no adapters, or no such lane.

    >>> import d2lora, torch
    >>> model, lora = torch.nn.Sequential(torch.nn.Linear(8, 4)), d2lora.get_method("lora").Config(rank=2)
    >>> model = d2lora.attach(model, "lora", lora, ["0"])
    >>> d2lora.merge(model)[0]
    Linear(in_features=8, out_features=4, bias=True)
    """
    layers = layers_with_lane(model, lane).values()
    memo: dict[int, object] = {id(layer): nn.Linear.__new__(nn.Linear) for layer in layers}
    for layer in layers:
        layer.merged(lane, memo)
    merged = copy.deepcopy(model, memo)
    forget_batches(merged)
    return thaw(merged)


def merge_(model: nn.Module, lane: int = 0) -> nn.Module:
    """Make every adapted layer a plain ``nn.Linear`` with the lane's effective weight, in place. Returns ``model``.

    Unlike `merge` it makes no second model: at most one layer's weight is in memory twice. All lanes of the model are
    gone afterwards. ValueError: no adapters, or no such lane.

    >>> import d2lora, torch
    >>> model, lora = torch.nn.Sequential(torch.nn.Linear(8, 4)), d2lora.get_method("lora").Config(rank=2)
    >>> d2lora.merge_(d2lora.attach(model, "lora", lora, ["0"]))[0]
    Linear(in_features=8, out_features=4, bias=True)
    """
    for layer in layers_with_lane(model, lane).values():
        weight_OI = layer.effective_weight(lane).to(layer.weight.dtype)
        layer.restore()
        layer.weight = nn.Parameter(weight_OI, requires_grad=False)
    forget_batches(model)
    return thaw(model)


def adapted_layers(model: nn.Module) -> dict[str, AdaptedLinear]:
    """Return the model's adapted layers by name; empty for a model without adapters."""
    return {name: module for name, module in model.named_modules() if isinstance(module, AdaptedLinear)}


def layers_with_lane(model: nn.Module, lane: int) -> dict[str, AdaptedLinear]:
    """Return the model's adapted layers by name; ValueError if there are none, or if they have no such lane."""
    layers = adapted_layers(model)
    if not layers:
        raise ValueError("The model has no adapters: call d2lora.attach first.")
    lanes = len(next(iter(layers.values())).lanes)
    if not 0 <= lane < lanes:
        raise ValueError(f"lane={lane} is not among the model's {lanes} lanes.")
    return layers


def _check_ranks(name: str, layer: nn.Linear, lanes: Sequence[Lane]) -> None:
    """Raise ValueError, with the layer's name, if the rank of a lane is too large for the layer."""
    try:
        for lane in lanes:
            get_method(lane.method).shapes(layer.out_features, layer.in_features, lane.config)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
