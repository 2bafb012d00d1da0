"""AdaptedLinear: N lanes of adapters over one frozen weight."""

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
from d2lora.kernels.dropout import Extent, dropped, layer_salt
from d2lora.kernels.factored import Factored
from d2lora.layers.factors import build_factors, factors_by_group
from d2lora.layers.lanes import Group, Lane
from d2lora.layers.rows import BatchRows
from d2lora.method import Params
from d2lora.methods import get_method
from d2lora.norms.base_weight import BaseWeight, at_least_float32
from d2lora.norms.norm_cache import NormCache

_OWN = ("lanes", "current", "groups", "_kind", "_salt", "_norms", "_names")
"""The attributes that a linear layer has while it is adapted, beside its adapters' parameters."""


class AdaptedLinear(nn.Module):
    """A frozen ``nn.Linear`` under N adapters; row groups of the input go through one adapter each.

    A linear layer becomes one, and is plain again, by its class alone (`adapt`, `restore`): it stays the same object,
    with its name or names, its hooks and its mode. The parameter ``NAME`` of lane l is the attribute ``NAME_l`` of this
    module (the module that is called owns what its forward reads, or ZeRO-3 would not gather it). The base product is
    one matrix product over all lanes' rows.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    in_features: int
    out_features: int
    lanes: tuple[Lane, ...]
    current: BatchRows
    groups: list[Group]
    _kind: type[nn.Linear]
    _salt: int
    _norms: NormCache
    _names: list[tuple[str, ...]]

    @classmethod
    def adapt(
        cls, layer: nn.Linear, name: str, lanes: Sequence[Lane], current: BatchRows, generators: Sequence[Generator]
    ) -> AdaptedLinear:
        """Make ``layer`` an adapted one, in place; ``generators[l]`` draws lane l's start, ``name`` tells dropouts."""
        cache = NormCache()
        base = BaseWeight(layer.weight, cache)
        drawn = zip(lanes, generators, strict=True)
        starts = [get_method(lane.method).init(base, lane.config, generator) for lane, generator in drawn]
        there = [{name: value.to(layer.weight.device) for name, value in start.items()} for start in starts]
        kind, layer.__class__ = type(layer), cls  # type: ignore[assignment]
        self = cast(AdaptedLinear, layer)
        self.lanes, self.current, self.groups = tuple(lanes), current, []
        self._kind, self._salt, self._norms = kind, layer_salt(name), cache
        self._names = [tuple(start) for start in starts]
        for index, (lane, start) in enumerate(zip(lanes, there, strict=True)):
            self._add(index, lane, start)
        return self

    def restore(self) -> nn.Linear:
        """Make this the linear layer again that it was, in place, without adapters; its weight stays frozen."""
        for name in self._adapters():
            del self._parameters[name]
        kind = self._kind
        for name in _OWN:
            delattr(self, name)
        self.__class__ = kind  # type: ignore[assignment]
        return cast(nn.Linear, self)

    @property
    def base(self) -> BaseWeight:
        """The frozen weight as it is now, with its norms."""
        return BaseWeight(self.weight, self._norms)

    @property
    def shape(self) -> tuple[object, ...]:
        """What layers that are built together have in common."""
        return self.out_features, self.in_features, self.weight.dtype, self.weight.device

    def params(self, lane: int) -> Params:
        """Return the trained tensors of ``lane`` by their plain names, as they are (not copies)."""
        return {name: getattr(self, f"{name}_{lane}") for name in self._names[lane]}

    def effective_weight(self, lane: int) -> Tensor:
        """Return the weight that acts for ``lane``, dense, of shape (O, I), in float32 or better, without gradient."""
        spec = self.lanes[lane]
        with torch.no_grad():
            wide_OI = at_least_float32(self.weight)
            return get_method(spec.method).effective_weight(wide_OI, self.params(lane), spec.config)

    def thin(self, lanes: Sequence[int]) -> list[tuple[list[int], Factored]]:
        """Return the thin factors of ``lanes`` without gradient: lanes of one method and settings stacked as one."""
        with torch.no_grad():
            return [(members, thin.map(Tensor.detach)) for members, thin in factors_by_group([self], lanes)]

    def forward(self, x: Tensor) -> Tensor:
        """Return the adapted product for ``x`` of shape (rows, ..., I); rows belong to lanes as the pass says.

        Inputs without rows, and of one dimension, are taken as ``nn.Linear`` takes them.
        """
        if not x.dim() or x.shape[-1] != self.in_features:
            shape = " x ".join(map(str, x.shape)) or "no dimension"
            raise ValueError(f"A layer of {self.in_features} in features got an input of {shape}.")
        if not x.numel():
            return self._nothing(x)
        extents = self.current.extents(len(self.lanes), x.shape[:-1])
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

        All else of this layer is copied: bias, hooks, mode. ``memo`` is that of a larger copy (`copy.deepcopy`).
        """
        memo = {} if memo is None else memo
        linear: nn.Linear = memo.setdefault(id(self), nn.Linear.__new__(nn.Linear))
        parameters = {name: one for name, one in self._parameters.items() if name not in self._adapters()}
        parameters["weight"] = nn.Parameter(self.effective_weight(lane).to(self.weight.dtype), requires_grad=False)
        memo[id(parameters["weight"])] = parameters["weight"]
        own = {name: value for name, value in vars(self).items() if name not in _OWN}
        vars(linear).update(copy.deepcopy(own | {"_parameters": parameters}, memo))
        return linear

    def extra_repr(self) -> str:
        """Return features and lanes: ``in_features=8, out_features=6, bias=True, lanes: 2 x lora of rank 4``."""
        equal = [(name, len(list(lanes))) for name, lanes in groupby(self.lanes, key=str)]
        told = ", ".join(name if count == 1 else f"{count} x {name}" for name, count in equal)
        bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}, lanes: {told}"

    def _add(self, index: int, lane: Lane, start: Params) -> None:
        for name, value in start.items():
            self.register_parameter(f"{name}_{index}", nn.Parameter(value))
        for group in self.groups:
            if (group.method, group.config) == (lane.method, lane.config):
                group.lanes.append(index)
                return
        self.groups.append(Group(lane.method, lane.config, [index]))

    def _adapters(self) -> dict[str, Tensor]:
        """Return all lanes' trained tensors by the names that they have here."""
        return {
            f"{name}_{lane}": getattr(self, f"{name}_{lane}") for lane, each in enumerate(self._names) for name in each
        }

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Move or convert the layer, as ``nn.Module.to`` does; adapters follow to a device, to no half precision.

        Their steps would be lost in it: where the base becomes bfloat16, adapters stay in float32.
        """
        trained = list(self._adapters().values())
        wide = {id(tensor) for one in trained for tensor in (one, one.grad) if tensor is not None}

        def convert(tensor: Tensor) -> Tensor:
            converted = fn(tensor)
            narrow = id(tensor) in wide and converted.is_floating_point() and converted.element_size() < 4
            return tensor.to(converted.device) if narrow else converted

        return super()._apply(convert, recurse)  # type: ignore[no-untyped-call]

    def _nothing(self, x: Tensor) -> Tensor:
        """Return the output of no rows; adapters get a gradient of zero, so that a loss over it has a backward."""
        y = linear(x, self.weight, self.bias)
        return y + sum(0 * tensor.sum() for tensor in self._adapters().values())

    def _factors(self, active: tuple[int, ...]) -> Factored:
        """Return the thin factors of the active lanes: held ones if the passes hold them, else new ones."""
        held = self.current.held
        return build_factors([self], active) if held is None else held.of(self, active)

    def _dropped(self, x_MI: Tensor, extents: Sequence[Extent]) -> Tensor | None:
        """Return the input after each lane's own dropout, or None where nothing is dropped."""
        rates = [lane.config.dropout for lane in self.lanes]
        if not self.training or not any(rate for rate, (count, _) in zip(rates, extents, strict=True) if count):
            return None
        keys_B = self.current.keys([lane.seed for lane in self.lanes], extents, x_MI.device)
        return dropped(x_MI, rates, extents, keys_B ^ self._salt)
