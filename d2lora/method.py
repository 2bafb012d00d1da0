"""What a method is: a frozen config, the shapes it trains, a start, an equation, and that equation in thin factors.

Shape letters, everywhere in this library: O out features, I in features, R rank, L lanes, N rows of a lane.
A suffix spells a tensor's shape: ``weight_OI``, ``up_LOR``. Functions marked *batched* accept parameters with a leading
lane dimension (``up_plus`` of shape (L, O, R)) as well as without.

Modules of this package read torch only inside functions, so that a planner can check a config without loading it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from d2lora.kernels.factored import Factored

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from d2lora.norms.base_weight import AnyBaseWeight, BaseWeight


Params = dict[str, "Tensor"]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class LowRankConfig:
    """Settings that every low-rank method has; ``alpha / rank`` scales the update, dropout acts on its input."""

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank={self.rank} is not positive: a low-rank update needs rank 1 or more.")
        if not self.alpha > 0:
            raise ValueError(f"alpha={self.alpha} is not positive: it scales the update by alpha / rank.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} is not in [0, 1).")

    @property
    def scale(self) -> float:
        """``alpha / rank``, the constant in front of the update."""
        return self.alpha / self.rank


@dataclass(frozen=True)
class PeftForm:
    """An effective weight as PEFT can hold it: ``V = W + scale up down`` itself, as its LoRA.

    Or, with a magnitude, V with every row at that norm, as its DoRA.
    """

    up_OR: Tensor
    down_RI: Tensor
    scale: float
    magnitude_O: Tensor | None = None


class Method(Protocol):
    """The contract of a file in ``d2lora/methods``; ``tests/contract`` holds every registered one to it."""

    @property
    def Config(self) -> type[LowRankConfig]:
        """The method's settings."""

    def shapes(self, out_features: int, in_features: int, config: LowRankConfig, /) -> Shapes:
        """Return the name and shape of every trained tensor; needs no torch."""

    def init(self, weight: Tensor | BaseWeight, config: LowRankConfig, generator: Generator, /) -> Params:
        """Return fresh parameters for which the effective weight is ``weight``, (O, I), in float32 or better.

        Drawn on the CPU, the generator's device. A `BaseWeight` keeps norms, so that they are computed once for all
        lanes; of a weight nothing else is read than its shape and type, and no copy is made.
        """

    def effective_weight(self, weight_OI: Tensor, params: Params, config: LowRankConfig, /) -> Tensor:
        """Return the weight that acts, of shape (O, I): the definition, used for merging and as the reference."""

    def update(self, params: Params, config: LowRankConfig, /) -> Tensor:
        """Return dW, of shape (O, I): what is added to the frozen weight before anything else is done to it."""

    def with_update(self, weight_OI: Tensor, update_OI: Tensor, params: Params, config: LowRankConfig, /) -> Tensor:
        """Return the effective weight where dW is ``update_OI``: how a gradient comes back to ``W + dW``."""

    def factored(self, base: AnyBaseWeight, params: Params, config: LowRankConfig, /) -> Factored:
        """Return the same map in thin factors, *batched*; equal to the definition in value and gradient."""

    def as_peft(self, base: BaseWeight, params: Params, config: LowRankConfig, /) -> PeftForm | None:
        """Return the effective weight as PEFT's LoRA or DoRA, exactly; None where it is neither."""


def check_rank(rank: int, out_features: int, in_features: int) -> None:
    """Refuse a rank that no matrix of this shape can use."""
    if rank > min(out_features, in_features):
        raise ValueError(
            f"rank={rank} is larger than the smaller side of a {out_features} x {in_features} weight: "
            f"use rank <= {min(out_features, in_features)} or other targets."
        )
