"""AdaptedLinear: a frozen linear layer with N lanes of adapters."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import linear

from d2lora.kernels.apply import apply_factored
from d2lora.kernels.factored import Factored
from d2lora.layers.dropout import Extent, dropped, layer_salt
from d2lora.layers.factors import build_factors, factors_by_group
from d2lora.layers.lanes import Group, Lane
from d2lora.layers.rows import BatchRows
from d2lora.method import Params
from d2lora.methods import get_method
from d2lora.norms.base_weight import BaseWeight, at_least_float32
from d2lora.norms.norm_cache import NormCache

ADAPTED_STATE = ("lanes", "batch_rows", "groups", "_kind", "_salt", "_norms", "_names")
"""The attributes that a linear layer has only while it is adapted, beside the parameters of its adapters."""


class AdaptedLinear(nn.Module):
    """A frozen ``nn.Linear`` with N adapters; the rows of each lane go through the lane's own adapter.

    `adapt` changes the class of an existing linear layer, and `restore` changes the class back. So the layer stays the
    same object, with its names in the model, its hooks and its mode. The base product is one matrix product over the
    rows of all lanes.

    The parameter ``up`` of lane 2 is the attribute ``up_2`` of this module, not of a child module, because ZeRO-3
    gathers only the parameters that a module itself owns before it calls the module's forward.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    in_features: int
    out_features: int
    lanes: tuple[Lane, ...]
    batch_rows: BatchRows
    groups: list[Group]
    _kind: type[nn.Linear]
    _salt: int
    _norms: NormCache
    _names: list[tuple[str, ...]]

    @classmethod
    def adapt(
        cls, layer: nn.Linear, name: str, lanes: Sequence[Lane], batch_rows: BatchRows, generators: Sequence[Generator]
    ) -> AdaptedLinear:
        """Make ``layer`` an adapted layer, in place, and return it.

        ``generators[l]`` draws the start of lane l. ``name`` is the layer's name in the model, from which its dropout
        masks are drawn. ``batch_rows`` is shared by all adapted layers of the model.
        """
        cache = NormCache()
        base = BaseWeight(layer.weight, cache)
        pairs = zip(lanes, generators, strict=True)
        starts = [get_method(lane.method).init(base, lane.config, generator) for lane, generator in pairs]
        there = [{name: value.to(layer.weight.device) for name, value in start.items()} for start in starts]
        kind, layer.__class__ = type(layer), cls  # type: ignore[assignment]
        self = cast(AdaptedLinear, layer)
        self.lanes, self.batch_rows, self.groups = tuple(lanes), batch_rows, []
        self._kind, self._salt, self._norms = kind, layer_salt(name), cache
        self._names = [tuple(start) for start in starts]
        for index, (lane, start) in enumerate(zip(lanes, there, strict=True)):
            self._add(index, lane, start)
        return self

    def restore(self) -> nn.Linear:
        """Make this layer the plain linear layer again that it was, in place; its weight stays frozen."""
        for name in self._adapters():
            del self._parameters[name]
        kind = self._kind
        for name in ADAPTED_STATE:
            delattr(self, name)
        self.__class__ = kind  # type: ignore[assignment]
        return cast(nn.Linear, self)

    @property
    def base(self) -> BaseWeight:
        """The frozen weight as it is now, with its norms."""
        return BaseWeight(self.weight, self._norms)

    @property
    def shape(self) -> tuple[object, ...]:
        """Features, type and device of the weight; layers with equal shapes may be built together."""
        return self.out_features, self.in_features, self.weight.dtype, self.weight.device

    def params(self, lane: int) -> Params:
        """Return the trained tensors of ``lane`` themselves, not copies, by their names in the method."""
        return {name: getattr(self, f"{name}_{lane}") for name in self._names[lane]}

    def effective_weight(self, lane: int) -> Tensor:
        """Return the dense weight that acts for ``lane``, of shape (O, I), in float32 or better, without gradient."""
        spec = self.lanes[lane]
        with torch.no_grad():
            wide_OI = at_least_float32(self.weight)
            return get_method(spec.method).effective_weight(wide_OI, self.params(lane), spec.config)

    def thin(self, lanes: Sequence[int]) -> list[tuple[list[int], Factored]]:
        """Return the thin factors of ``lanes``, without gradient: each group's lanes, and their stacked factors."""
        with torch.no_grad():
            return [(members, thin.map(Tensor.detach)) for members, thin in factors_by_group([self], lanes)]

    def rows_of_lanes(self, x: Tensor) -> tuple[int, ...]:
        """Return how much of the first dimension of ``x``, an input of this layer, belongs to each lane.

        These are rows, or tokens if ``x`` has the tokens of all rows in its first dimension.
        """
        extents = self.batch_rows.extents(len(self.lanes), x.shape[:-1])
        rows = sum(count for count, _ in extents)
        return tuple(count * length if x.shape[0] != rows else count for count, length in extents)

    def forward(self, x: Tensor) -> Tensor:
        """Return the adapted product, of shape (rows, ..., O), for ``x`` of shape (rows, ..., I).

        `BatchRows` says which rows belong to which lane. An input without rows or of one dimension is accepted, as
        ``nn.Linear`` accepts it. ValueError for an input with another number of features, or with unknown rows.
        """
        if not x.dim() or x.shape[-1] != self.in_features:
            shape = " x ".join(map(str, x.shape)) or "no dimension"
            raise ValueError(f"A layer of {self.in_features} in features got an input of {shape}.")
        if not x.numel():
            return self._empty_output(x)
        extents = self.batch_rows.extents(len(self.lanes), x.shape[:-1])
        active = tuple(lane for lane, (count, _) in enumerate(extents) if count)
        x_MI = x.reshape(-1, self.in_features)
        y_MO = apply_factored(
            x_MI,
            self.weight,
            self._factors(active),
            [math.prod(extents[lane]) for lane in active],
            bias_O=self.bias,
            adapter_x_MI=self._dropped(x_MI, extents),
        )
        return y_MO.view(*x.shape[:-1], self.out_features)

    def merged(self, lane: int, memo: dict[int, Any] | None = None) -> nn.Linear:
        """Return a new plain ``nn.Linear`` that computes what this layer computes for ``lane``.

        Bias, hooks and mode are copied from this layer. To copy a whole model, pass the ``memo`` of `copy.deepcopy`.
        """
        memo = {} if memo is None else memo
        plain: nn.Linear = memo.setdefault(id(self), nn.Linear.__new__(nn.Linear))
        adapters = self._adapters()
        parameters = {name: value for name, value in self._parameters.items() if name not in adapters}
        parameters["weight"] = nn.Parameter(self.effective_weight(lane).to(self.weight.dtype), requires_grad=False)
        memo[id(parameters["weight"])] = parameters["weight"]
        others = {name: value for name, value in vars(self).items() if name not in ADAPTED_STATE}
        vars(plain).update(copy.deepcopy(others | {"_parameters": parameters}, memo))
        return plain

    def extra_repr(self) -> str:
        """Return features and lanes: ``in_features=8, out_features=6, bias=True, lanes: 2 x lora of rank 4``."""
        equal = [(name, len(list(lanes))) for name, lanes in groupby(self.lanes, key=str)]
        lanes = ", ".join(name if count == 1 else f"{count} x {name}" for name, count in equal)
        bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}, lanes: {lanes}"

    def _add(self, index: int, lane: Lane, start: Params) -> None:
        """Register the parameters of the lane, and put the lane into its group."""
        for name, value in start.items():
            self.register_parameter(f"{name}_{index}", nn.Parameter(value))
        for group in self.groups:
            if (group.method, group.config) == (lane.method, lane.config):
                group.lanes.append(index)
                return
        self.groups.append(Group(lane.method, lane.config, [index]))

    def _adapters(self) -> dict[str, Tensor]:
        """Return the trained tensors of all lanes, by their names in this module (``up_2``)."""
        names = [f"{name}_{lane}" for lane, of_lane in enumerate(self._names) for name in of_lane]
        return {name: getattr(self, name) for name in names}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Move or convert the layer, as ``nn.Module.to`` does; adapters move along, but never to half precision.

        Optimizer steps are smaller than half precision can add to an adapter. So if the base becomes bfloat16, the
        adapters stay in float32.
        """
        trained = list(self._adapters().values())
        keep_wide = {id(tensor) for value in trained for tensor in (value, value.grad) if tensor is not None}

        def convert(tensor: Tensor) -> Tensor:
            converted = fn(tensor)
            narrowed = id(tensor) in keep_wide and converted.is_floating_point() and converted.element_size() < 4
            return tensor.to(converted.device) if narrowed else converted

        return super()._apply(convert, recurse)  # type: ignore[no-untyped-call]

    def _empty_output(self, x: Tensor) -> Tensor:
        """Return the output for an input without rows.

        Zero times the adapters is added, so that a loss over the output has a backward: it gives each adapter zeros.
        """
        y = linear(x, self.weight, self.bias)
        return y + sum(0 * tensor.sum() for tensor in self._adapters().values())

    def _factors(self, active: tuple[int, ...]) -> Factored:
        """Return the thin factors of the ``active`` lanes: held factors within `d2lora.held_factors`, else new ones."""
        held = self.batch_rows.held
        return build_factors([self], active) if held is None else held.of(self, active)

    def _dropped(self, x_MI: Tensor, extents: Sequence[Extent]) -> Tensor | None:
        """Return the input after each lane's own dropout; None if no lane with rows drops anything."""
        rates = [lane.config.dropout for lane in self.lanes]
        if not self.training or not any(rate for rate, (count, _) in zip(rates, extents, strict=True) if count):
            return None
        keys_B = self.batch_rows.keys([lane.seed for lane in self.lanes], extents, x_MI.device)
        return dropped(x_MI, rates, extents, keys_B ^ self._salt)
