"""Put lanes of adapters on a model, run batches through them, and take one out as a plain model."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from torch import Generator, nn

from d2lora.adaptable import check_loaded, match_targets
from d2lora.dropout import keys_tensor
from d2lora.frozen import freeze, thaw
from d2lora.held import HeldFactors
from d2lora.layer import AdaptedLinear, Lane
from d2lora.method import LowRankConfig
from d2lora.registry import get_method
from d2lora.rows import Pass, SeesBatch, forget_batches, row_keys


def attach(
    model: nn.Module,
    method: str,
    config: LowRankConfig,
    targets: Sequence[str],
    lanes: int = 1,
    seeds: Sequence[int] | None = None,
) -> nn.Module:
    """Adapt the linear layers that match ``targets`` with ``lanes`` adapters of one method, in place.

    ``seeds`` (default 0, 1, ...) draw the starts. Everything else is frozen. Returns ``model``. Errors are those of
    `attach_lanes`.

    >>> import d2lora, torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> config = d2lora.get_method("d2lora").Config(rank=2, alpha=4.0)
    >>> model = d2lora.attach(model, "d2lora", config, targets=["0"], lanes=3)
    >>> model(torch.zeros(6, 8)).shape  # two rows of each lane
    torch.Size([6, 2])
    """
    drawn = list(range(lanes)) if seeds is None else list(seeds)
    if len(drawn) != lanes:
        raise ValueError(f"{len(drawn)} seeds for {lanes} lanes: give each lane a seed.")
    return attach_lanes(model, [Lane(method, config, seed) for seed in drawn], targets)


def attach_lanes(model: nn.Module, lanes: Sequence[Lane], targets: Sequence[str]) -> nn.Module:
    """Adapt the linear layers that match ``targets`` (see `match_targets`) with one adapter a lane, in place.

    A layer stays the same object under its name or names, with its hooks and its mode (training or evaluation). The
    other linear layers are frozen (`d2lora.freeze`). `detach` and `merge` undo both. A lane's start depends on its own
    seed, method and settings alone, not on its neighbours. Returns ``model``.

    ValueError, with nothing changed: no lanes, a pattern that matches no linear layer, a layer that cannot be adapted,
    weights that are not loaded, a model that is adapted already, a rank too large.

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
    current, generators = Pass(), [Generator().manual_seed(lane.seed) for lane in lanes]
    for name, layer in layers.items():
        AdaptedLinear.adapt(layer, name, lanes, current, generators)
    if len(lanes) > 1:
        model.register_forward_pre_hook(SeesBatch(current), with_kwargs=True)
    return model


def _check_ranks(name: str, layer: nn.Linear, lanes: Sequence[Lane]) -> None:
    """Refuse lanes whose rank the layer cannot have."""
    try:
        for lane in lanes:
            get_method(lane.method).shapes(layer.out_features, layer.in_features, lane.config)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


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


def adapted_layers(model: nn.Module) -> dict[str, AdaptedLinear]:
    """Return the model's adapted layers by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, AdaptedLinear)}


@contextmanager
def lane_rows(
    model: nn.Module,
    counts: Sequence[int] | None,
    draw: int = 0,
    lengths: Sequence[int] | None = None,
    places: Sequence[int] | None = None,
) -> Iterator[None]:
    """Within: ``counts[l]`` rows of every batch belong to lane l, in lane order; a lane with 0 rows takes no part.

    Hold it around forward *and* backward, because gradient checkpointing runs the forward again. With None the rows of
    the batch that enters the model are shared equally. ``lengths[l]`` is what each of lane l's rows is long: for a
    batch that is one row in which those rows follow one another, and for layers that get their batch flat.

    Dropout draws by lane, by ``draw``, the optimizer step, and by the row's place in its lane's *global* batch:
    ``places`` are those of all rows, lane after lane (0, 1, ... in each lane by default). So it is the same however a
    batch is cut into micro batches and shared by ranks.

    ValueError: no adapters, counts, lengths and places that do not go together, or, in the forward, an input that has
    other rows.

    >>> import d2lora, torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 4))
    >>> model = d2lora.attach(model, "lora", d2lora.get_method("lora").Config(rank=2, dropout=0.1), ["0"], lanes=2)
    >>> with d2lora.lane_rows(model, [1, 3], draw=5, places=[0, 0, 1, 2]):
    ...     model(torch.zeros(4, 8)).sum().backward()
    """
    first = next((module for module in model.modules() if isinstance(module, AdaptedLinear)), None)
    if first is None:
        raise ValueError("The model has no adapters: call d2lora.attach first.")
    _check_rows(len(first.lanes), counts, lengths, places)
    values: dict[str, object] = {"draw": draw, "keys_B": None}
    values |= {
        name: None if given is None else tuple(given)
        for name, given in (("counts", counts), ("lengths", lengths), ("places", places))
    }
    if counts is not None and first.training and any(lane.config.dropout for lane in first.lanes):
        keys = row_keys([lane.seed for lane in first.lanes], counts, draw, places)
        values["keys_B"] = keys_tensor(keys, first.weight.device)
    with first.current.having(**values):
        yield


def _check_rows(
    lanes: int, counts: Sequence[int] | None, lengths: Sequence[int] | None, places: Sequence[int] | None
) -> None:
    """Refuse what does not go together, with the numbers."""
    if counts is None:
        for name, given in (("lengths", lengths), ("places", places)):
            if given is not None:
                raise ValueError(
                    f"lane_rows got {len(given)} {name} and no counts: give the rows of each lane as well."
                )
        return
    if len(counts) != lanes or min(counts, default=0) < 0:
        raise ValueError(f"lane_rows got the counts {list(counts)} for {lanes} lanes: give each its rows, 0 or more.")
    if lengths is not None and len(lengths) != lanes:
        raise ValueError(f"lane_rows got {len(lengths)} lengths for {lanes} lanes: give each the length of its rows.")
    if places is not None and len(places) != sum(counts):
        raise ValueError(f"lane_rows got {len(places)} places for {sum(counts)} rows: give each row its place.")


@contextmanager
def held_factors(model: nn.Module) -> Iterator[HeldFactors]:
    """Within: every adapted layer computes its thin factors, and so its norms, once for all passes.

    Parameters must not change within. In training call ``backward()`` of what this yields after the last pass: until
    then the parameters have no gradient. A model without adapters has nothing to hold.

    >>> import d2lora, torch
    >>> model, lora = torch.nn.Sequential(torch.nn.Linear(8, 4)), d2lora.get_method("lora").Config(rank=2)
    >>> model = d2lora.attach(model, "lora", lora, ["0"])
    >>> with d2lora.held_factors(model) as held:
    ...     for micro_batch in torch.randn(4, 2, 8):
    ...         model(micro_batch).square().mean().backward()
    ...     held.backward()
    """
    layers = list(adapted_layers(model).values())
    held = HeldFactors(layers)
    if not layers:
        yield held
        return
    with layers[0].current.having(held=held):  # the pass is one object, shared by all
        yield held


def merge(model: nn.Module, lane: int = 0) -> nn.Module:
    """Return a new plain model in which every adapted layer is one ``nn.Linear`` with the lane's effective weight.

    >>> import d2lora, torch
    >>> model, lora = torch.nn.Sequential(torch.nn.Linear(8, 4)), d2lora.get_method("lora").Config(rank=2)
    >>> model = d2lora.attach(model, "lora", lora, ["0"])
    >>> d2lora.merge(model)[0]
    Linear(in_features=8, out_features=4, bias=True)
    """
    layers = adapted_layers(model).values()
    _check_lane(layers, lane)
    memo: dict[int, object] = {id(layer): nn.Linear.__new__(nn.Linear) for layer in layers}
    for layer in layers:
        layer.merged(lane, memo)
    merged = copy.deepcopy(model, memo)
    forget_batches(merged)
    return thaw(merged)


def merge_(model: nn.Module, lane: int = 0) -> nn.Module:
    """Make every adapted layer one plain ``nn.Linear`` with the lane's effective weight, in place. Returns ``model``.

    As `merge`, without a second model: no more than one layer's weight is there twice. All lanes are gone after it.

    >>> import d2lora, torch
    >>> model, lora = torch.nn.Sequential(torch.nn.Linear(8, 4)), d2lora.get_method("lora").Config(rank=2)
    >>> d2lora.merge_(d2lora.attach(model, "lora", lora, ["0"]))[0]
    Linear(in_features=8, out_features=4, bias=True)
    """
    layers = adapted_layers(model).values()
    _check_lane(layers, lane)
    for layer in layers:
        weight_OI = layer.effective_weight(lane).to(layer.weight.dtype)
        layer.restore()
        layer.weight = nn.Parameter(weight_OI, requires_grad=False)
    forget_batches(model)
    return thaw(model)


def _check_lane(layers: Collection[AdaptedLinear], lane: int) -> None:
    """Refuse a model without adapters, and a lane that it does not have."""
    if not layers:
        raise ValueError("The model has no adapters: call d2lora.attach first.")
    lanes = len(next(iter(layers)).lanes)
    if not 0 <= lane < lanes:
        raise ValueError(f"lane={lane} is not among the model's {lanes} lanes.")
