"""A lane, and a group of lanes that share one method and settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from d2lora.method import LowRankConfig, Params
from d2lora.norms.base_weight import BaseWeight


@dataclass(frozen=True)
class Lane:
    """One adapter of a pack: its method, its settings and the seed that draws its start and its dropout."""

    method: str
    config: LowRankConfig
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.method} of rank {self.config.rank}"


@dataclass
class Group:
    """Lanes with the same method and settings: their parameters are stacked and factored at once."""

    method: str
    config: LowRankConfig
    lanes: list[int] = field(default_factory=list)

    def among(self, active: Sequence[int]) -> list[int]:
        """Return the lanes of this group that take part."""
        return [lane for lane in self.lanes if lane in active]


class LaneLayer(Protocol):
    """What is read of an adapted layer to build the thin factors of its lanes."""

    groups: list[Group]

    @property
    def weight(self) -> Tensor:
        """The frozen weight, (O, I)."""

    @property
    def base(self) -> BaseWeight:
        """The frozen weight with its norms."""

    @property
    def shape(self) -> tuple[object, ...]:
        """Sizes, type and lanes: layers that agree in it are built together."""

    def params(self, lane: int) -> Params:
        """Return the trained tensors of a lane, by name."""
