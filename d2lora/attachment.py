"""Put lanes of adapters on a model, run batches through them, and take one out as a plain model."""

from __future__ import annotations

import copy
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from fnmatch import fnmatchcase
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from d2lora.frozen import freeze, thaw
from d2lora.held import HeldFactors
from d2lora.layer import AdaptedLinear, Lane, Pass, TokenPlaces
from d2lora.method import LowRankConfig
from d2lora.registry import get_method


def attach(
    model: nn.Module,
    method: str,
    config: LowRankConfig,
    targets: Sequence[str],
    lanes: int = 1,
    seeds: Sequence[int] | None = None,
) -> nn.Module:
    """Adapt the linear layers that match ``targets`` with ``lanes`` adapters of one method, in place.

    ``seeds`` (default 0, 1, ...) draw the starts. Everything else is frozen. Returns ``model``.
    """
    drawn = list(range(lanes)) if seeds is None else list(seeds)
    if len(drawn) != lanes:
        raise ValueError(f"{len(drawn)} seeds for {lanes} lanes: give one seed a lane.")
    return attach_lanes(model, [Lane(method, config, seed) for seed in drawn], targets)


def attach_lanes(model: nn.Module, lanes: Sequence[Lane], targets: Sequence[str]) -> nn.Module:
    """Adapt the linear layers that match ``targets`` with one adapter a lane, of any methods, in place.

    The others are frozen (`d2lora.freeze`), which `detach` and `merge` undo.
    A lane's start depends on its own seed, method and settings alone, not on its neighbours.
    ValueError: no lanes, a pattern that matches no linear layer, a model that is adapted already, a rank too large.
    """
    if not lanes:
        raise ValueError("No lanes: attach needs one adapter or more.")
    if adapted_layers(model):
        raise ValueError("The model is adapted already: merge a lane or load the base again.")
    for lane in lanes:
        get_method(lane.method)
    names = match_targets(model, targets)
    freeze(model)
    current, generators = Pass(), [Generator().manual_seed(lane.seed) for lane in lanes]
    for name in names:
        parent, _, child = name.rpartition(".")
        linear = model.get_submodule(name)
        assert isinstance(linear, nn.Linear)  # noqa: S101 - match_targets returns linear layers only
        try:
            layer = AdaptedLinear(linear, lanes, current, generators, salt=zlib.crc32(name.encode()))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        setattr(model.get_submodule(parent), child, layer)
    return model


def detach(model: nn.Module) -> nn.Module:
    """Take all adapters away, in place: every adapted layer is the frozen ``nn.Linear`` again. Returns ``model``."""
    for name, layer in adapted_layers(model).items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer.plain())
    return thaw(model)


def match_targets(model: nn.Module, targets: Sequence[str]) -> list[str]:
    """Return the names of the linear layers that any pattern matches, in model order; every pattern must match one."""
    linears = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    for pattern in targets:
        if not any(fnmatchcase(name, pattern) for name in linears):
            kinds = sorted({f"*.{name.rpartition('.')[2]}" for name in linears})
            raise ValueError(f"Target {pattern!r} matches no linear layer of the model. There are: {', '.join(kinds)}.")
    found = [name for name in linears if any(fnmatchcase(name, pattern) for pattern in targets)]
    if not found:
        raise ValueError("No targets: name the layers to adapt, for example ['*.q_proj', '*.v_proj'].")
    return found


def adapted_layers(model: nn.Module) -> dict[str, AdaptedLinear]:
    """Return the model's adapted layers by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, AdaptedLinear)}


@contextmanager
def lane_rows(
    model: nn.Module, counts: Sequence[int] | None, draw: int = 0, lengths: Sequence[int] | None = None
) -> Iterator[None]:
    """Within: ``counts[l]`` rows of every batch belong to lane l, in lane order; a lane with 0 rows takes no part.

    Hold it around forward *and* backward, because gradient checkpointing runs the forward again. ``draw`` numbers the
    pass for dropout. ``lengths[l]`` is what each of lane l's rows is long: for a batch that is one row in which those
    rows follow one another, and for layers that get their batch flat.
    """
    if lengths is not None and len(lengths) != len(counts or ()):
        raise ValueError(
            f"lane_rows got {len(lengths)} lengths for {len(counts or ())} counts: give a lane both, the number of its "
            "rows and their length."
        )
    layers = adapted_layers(model)
    if not layers:
        raise ValueError("The model has no adapters: call d2lora.attach first.")
    current = next(iter(layers.values())).current
    of_lanes = None if counts is None else tuple(counts), None if lengths is None else tuple(lengths)
    before, current.draw = current.draw, draw
    try:
        with current.of_rows(*of_lanes):
            yield
    finally:
        current.draw = before


def lane_places(
    model: nn.Module, places_A: Tensor, rows: int, length: int
) -> Callable[[], AbstractContextManager[None]]:
    """Return what to hold around layers that get only some tokens of the batch that `lane_rows` describes.

    ``places_A`` are their flat positions in the batch (rows, length), ascending; the layers get each as a row, with
    the dropout that it has in the batch (where a layer gets its batch flat: if `lane_rows` was told lengths).
    """
    layer = next((module for module in model.modules() if isinstance(module, AdaptedLinear)), None)
    if layer is None:
        return nullcontext
    extents = layer.current.extents(len(layer.lanes), rows, length)
    ends_L = torch.tensor([math.prod(extent) for extent in extents], device=places_A.device).cumsum(0)
    up_to_L = torch.searchsorted(places_A, ends_L).tolist()
    counts = tuple(end - begin for begin, end in pairwise([0, *up_to_L]))
    return lambda: layer.current.of_rows(counts, places=TokenPlaces(places_A, extents))


@contextmanager
def held_factors(model: nn.Module) -> Iterator[HeldFactors]:
    """Within: every adapted layer computes its thin factors, and so its norms, once for all passes.

    Parameters must not change within. In training call ``backward()`` of what this yields after the last pass: until
    then the parameters have no gradient. A model without adapters has nothing to hold.
    """
    layers = list(adapted_layers(model).values())
    held = HeldFactors(layers)
    for layer in layers[:1]:  # the pass is one object, shared by all
        layer.current.held = held
    try:
        yield held
    finally:
        for layer in layers[:1]:
            layer.current.held = None


def merge(model: nn.Module, lane: int = 0) -> nn.Module:
    """Return a new plain model in which every adapted layer is one ``nn.Linear`` with the lane's effective weight."""
    layers = adapted_layers(model)
    if not layers:
        raise ValueError("The model has no adapters: call d2lora.attach first.")
    merged: dict[int, object] = {id(layer): layer.merged(lane) for layer in layers.values()}
    return thaw(copy.deepcopy(model, merged))


def merge_(model: nn.Module, lane: int = 0) -> nn.Module:
    """Make every adapted layer one plain ``nn.Linear`` with the lane's effective weight, in place. Returns ``model``.

    As `merge`, without a second model: no more than one layer's weight is there twice. All lanes are gone after it.
    """
    layers = adapted_layers(model)
    if not layers:
        raise ValueError("The model has no adapters: call d2lora.attach first.")
    for name in list(layers):
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layers.pop(name).merged(lane))
    return thaw(model)
