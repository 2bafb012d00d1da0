"""A lane, and a group of lanes that share one method and its settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from d2lora.method import LowRankConfig, Params
from d2lora.norms.base_weight import BaseWeight


@dataclass(frozen=True)
class Lane:
    """One adapter of a pack: its method, its settings, and the seed that draws its start and its dropout.

    >>> import d2lora
    >>> str(Lane("lora", d2lora.get_method("lora").Config(rank=4), seed=7))
    'lora of rank 4'
    """

    method: str
    config: LowRankConfig
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.method} of rank {self.config.rank}"


@dataclass
class Group:
    """Lanes with the same method and settings: their parameters are stacked, and factored in one set of operations."""

    method: str
    config: LowRankConfig
    lanes: list[int] = field(default_factory=list)

    def among(self, active: Sequence[int]) -> list[int]:
        """Return the lanes of this group that are in ``active``."""
        return [lane for lane in self.lanes if lane in active]


class LaneLayer(Protocol):
    """The part of an adapted layer that is needed to build the thin factors of its lanes."""

    groups: list[Group]

    @property
    def weight(self) -> Tensor:
        """The frozen weight, of shape (O, I)."""

    @property
    def base(self) -> BaseWeight:
        """The frozen weight together with its norms."""

    @property
    def shape(self) -> tuple[object, ...]:
        """Features, type and device of the weight; layers with equal shapes may be built together."""

    def params(self, lane: int) -> Params:
        """Return the trained tensors of a lane, by name."""
