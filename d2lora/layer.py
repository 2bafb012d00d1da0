"""AdaptedLinear: N lanes of adapters over one frozen weight."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from d2lora.apply import apply_factored
from d2lora.factors import build_factors, factors_by_group
from d2lora.held import HeldFactors
from d2lora.method import Factored, LowRankConfig, Params
from d2lora.norms import BaseWeight, at_least_float32
from d2lora.registry import get_method


@dataclass(frozen=True)
class Lane:
    """One adapter of a pack: its method, its settings and the seed that draws its start and its dropout."""

    method: str
    config: LowRankConfig
    seed: int = 0


class TokenPlaces(NamedTuple):
    """Which tokens of a batch layers get: flat positions, and (rows, length of each) of every lane in the batch."""

    places_A: Tensor
    extents: list[tuple[int, int]]


@dataclass
class Pass:
    """What the adapted layers of a model share about the pass that is running.

    ``counts[l]`` rows of the batch belong to lane l, in lane order; None means equal groups. ``lengths[l]`` is how many
    places each of them has, where the batch does not show it: it may be flat, or one row of all. ``draw`` numbers the
    pass: dropout masks depend on it and on the lane's seed alone, so a recomputed forward draws the same ones and a
    lane's masks do not depend on its neighbours. ``held`` keeps the thin factors over passes, if they are to be kept.
    ``places`` are there where layers get some tokens of the batch, each as a row: a token's mask is the batch's.
    """

    counts: tuple[int, ...] | None = None
    lengths: tuple[int, ...] | None = None
    draw: int = 0
    held: HeldFactors | None = None
    places: TokenPlaces | None = None

    @contextmanager
    def of_rows(
        self, counts: tuple[int, ...] | None, lengths: tuple[int, ...] | None = None, places: TokenPlaces | None = None
    ) -> Iterator[None]:
        """Within: layers get these rows of each lane, of these lengths, which are these places of the batch."""
        before = self.counts, self.lengths, self.places
        self.counts, self.lengths, self.places = counts, lengths, places
        try:
            yield
        finally:
            self.counts, self.lengths, self.places = before

    def of(self, lanes: int, rows: int) -> tuple[int, ...]:
        """Return how many of a batch's ``rows`` belong to each of ``lanes``; ValueError with the numbers if unclear."""
        if self.counts is None:
            if rows % lanes:
                raise ValueError(
                    f"{rows} rows cannot be shared equally by {lanes} lanes: use d2lora.lane_rows(model, counts)."
                )
            return (rows // lanes,) * lanes
        total = sum(self.counts)
        if len(self.counts) != lanes or not total or rows % total:
            raise ValueError(f"lane_rows gave {list(self.counts)} for {lanes} lanes, but the batch has {rows} rows.")
        return tuple(count * (rows // total) for count in self.counts)

    def extents(self, lanes: int, rows: int, length: int) -> list[tuple[int, int]]:
        """Return (rows, length of each) of every lane, for a batch of ``rows`` rows of ``length`` places."""
        if self.counts is None or self.lengths is None:
            return [(count, length) for count in self.of(lanes, rows)]
        found = list(zip(self.counts, self.lengths, strict=True))
        if len(found) != lanes or sum(count * own for count, own in found) != rows * length:
            raise ValueError(
                f"lane_rows gave {list(self.counts)} rows of {list(self.lengths)} places for {lanes} lanes, but the "
                f"batch has {rows} rows of {length} places."
            )
        return found


@dataclass
class Group:
    """Lanes with the same method and settings: their parameters are stacked and factored at once."""

    method: str
    config: LowRankConfig
    lanes: list[int] = field(default_factory=list)

    def among(self, active: Sequence[int]) -> list[int]:
        """Return the lanes of this group that take part."""
        return [lane for lane in self.lanes if lane in active]


class AdaptedLinear(nn.Module):
    """A frozen ``nn.Linear`` under N adapters; row groups of the input go through one adapter each.

    The parameter ``NAME`` of lane l is the attribute ``NAME_l`` of this module (the module that is called owns what its
    forward reads, or ZeRO-3 would not gather it). The base product is one matrix product over all lanes' rows.
    """

    def __init__(
        self, linear: nn.Linear, lanes: Sequence[Lane], current: Pass, generators: Sequence[Generator], salt: int = 0
    ) -> None:
        """Adapt ``linear``; ``generators[l]`` draws lane l's start, ``salt`` names this layer in dropout."""
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                parameter.requires_grad_(False)
        self.out_features, self.in_features = linear.out_features, linear.in_features
        self.lanes, self.current, self.salt = tuple(lanes), current, salt
        self.base = BaseWeight(self.weight)
        self._names: list[tuple[str, ...]] = []
        self.groups: list[Group] = []
        drawn_from = at_least_float32(self.weight.detach().cpu())
        for lane, generator in zip(lanes, generators, strict=True):
            self._add(lane, get_method(lane.method).init(drawn_from, lane.config, generator))

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

    def plain(self) -> nn.Linear:
        """Return a plain ``nn.Linear`` that shares the frozen weight and bias."""
        linear = nn.Linear(self.in_features, self.out_features, self.bias is not None, device="meta")
        linear.weight, linear.bias = self.weight, self.bias
        return linear

    def merged(self, lane: int) -> nn.Linear:
        """Return a new plain ``nn.Linear`` that computes what this layer computes for ``lane``."""
        has_bias = self.bias is not None
        linear = nn.Linear(
            self.in_features, self.out_features, has_bias, device=self.weight.device, dtype=self.weight.dtype
        ).requires_grad_(False)
        linear.weight.copy_(self.effective_weight(lane))
        if has_bias:
            linear.bias.copy_(self.bias)
        return linear

    def forward(self, x: Tensor) -> Tensor:
        """Return the adapted product for ``x`` of shape (rows, ..., I); rows belong to lanes as the pass says."""
        length = x.shape[:-1].numel() // x.shape[0]
        extents = self.current.extents(len(self.lanes), x.shape[0], length)
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

    def _add(self, lane: Lane, start: Params) -> None:
        index = len(self._names)
        for name, value in start.items():
            self.register_parameter(f"{name}_{index}", nn.Parameter(value.to(self.weight.device)))
        self._names.append(tuple(start))
        for group in self.groups:
            if (group.method, group.config) == (lane.method, lane.config):
                group.lanes.append(index)
                return
        self.groups.append(Group(lane.method, lane.config, [index]))

    def _factors(self, active: tuple[int, ...]) -> Factored:
        """Return the thin factors of the active lanes: held ones if the passes hold them, else new ones."""
        held = self.current.held
        return build_factors([self], active) if held is None else held.of(self, active)

    def _dropped(self, x_MI: Tensor, extents: Sequence[tuple[int, int]]) -> Tensor | None:
        """Return the input after each lane's own dropout, or None where nothing is dropped.

        A row draws its mask from a generator of its own, so padding at the end of a row changes nothing before it.
        """
        present = zip(self.lanes, extents, strict=True)
        if not self.training or not any(lane.config.dropout for lane, (count, _) in present if count):
            return None
        places = self.current.places
        lanes = list(zip(self.lanes, extents if places is None else places.extents, strict=True))
        rows = [self._keep(lane, index, length) for lane, (count, length) in lanes for index in range(count)]
        keep_MI = torch.cat(rows).to(x_MI.device)
        wide = torch.promote_types(x_MI.dtype, torch.float32)
        share_L = torch.tensor([1 - lane.config.dropout for lane in self.lanes], dtype=wide)
        tokens_L = torch.tensor([math.prod(extent) for _, extent in lanes])
        share_M1 = share_L.repeat_interleave(tokens_L)[:, None].to(x_MI.device)
        if places is not None:
            keep_MI, share_M1 = (one.index_select(0, places.places_A) for one in (keep_MI, share_M1))
        return (x_MI * keep_MI / share_M1).to(x_MI.dtype)

    def _keep(self, lane: Lane, index: int, length: int) -> Tensor:
        """Return which inputs of a lane's row are kept, of shape (length, I)."""
        generator = Generator().manual_seed(hash((lane.seed, self.salt, self.current.draw, index)) % 2**63)
        return torch.rand(length, self.in_features, generator=generator) >= lane.config.dropout
