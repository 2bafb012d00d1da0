"""The contract of a method: settings, trained shapes, a start, an equation, and the same equation in thin factors.

A suffix spells a tensor's shape: ``weight_OI``, ``up_LOR``. Everywhere in this library O counts out features, I in
features, R ranks, L lanes, N the rows of one lane, M the rows of all lanes.

Functions marked *batched* accept parameters with a leading lane dimension (``up_plus`` of shape (L, O, R)) as well as
without it. Files of methods import torch inside functions only, so that a planner can check settings without torch.
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
    """The settings of every low-rank method.

    rank     R, the rank of the update
    alpha    the update is multiplied by ``alpha / rank``
    dropout  the probability with which each feature of the update's input is dropped in training

    ValueError: a rank below 1, an alpha that is not positive, a dropout outside of [0, 1).
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank={self.rank} is not positive: a low-rank update needs rank 1 or more, so give one.")
        if not self.alpha > 0:
            raise ValueError(
                f"alpha={self.alpha} is not positive: it scales the update by alpha / rank, so give a positive one."
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} is not in [0, 1): give a share, 0 for none.")

    @property
    def scale(self) -> float:
        """``alpha / rank``, by which the update is multiplied."""
        return self.alpha / self.rank


@dataclass(frozen=True)
class PeftForm:
    """An effective weight as PEFT can store it: as a LoRA, or as a DoRA.

    Without a magnitude the weight is ``V = W + scale * up @ down``: PEFT's LoRA. With a magnitude it is V with each row
    scaled to the norm ``magnitude_O``: PEFT's DoRA.
    """

    up_OR: Tensor
    down_RI: Tensor
    scale: float
    magnitude_O: Tensor | None = None


class Method(Protocol):
    """The functions of a file in ``d2lora/methods``; ``tests/contract`` tests every registered method against this.

    ``params`` are the tensors that `shapes` names. W is the frozen weight of shape (O, I), dW the update.
    """

    @property
    def Config(self) -> type[LowRankConfig]:
        """The class of the method's settings."""

    def shapes(self, out_features: int, in_features: int, config: LowRankConfig, /) -> Shapes:
        """Return the name and shape of every trained tensor, without torch; ValueError for a rank that is too large."""

    def init(self, weight: Tensor | BaseWeight, config: LowRankConfig, generator: Generator, /) -> Params:
        """Return fresh parameters, on the CPU, in float32 or better, for which the effective weight is ``weight``.

        Parameters are drawn on the CPU because the generator is there. A `BaseWeight` keeps its norms, so that all
        lanes of a layer share them. Apart from norms, only the shape and the type of the weight may be read, and no
        copy is made.
        """

    def effective_weight(self, weight_OI: Tensor, params: Params, config: LowRankConfig, /) -> Tensor:
        """Return the dense weight that the adapted layer multiplies by, of shape (O, I).

        This function defines the method: merging uses it, and the tests compare `factored` with it.
        """

    def update(self, params: Params, config: LowRankConfig, /) -> Tensor:
        """Return dW, of shape (O, I): the low-rank update, before a projection or a magnitude acts on ``W + dW``."""

    def with_update(self, weight_OI: Tensor, update_OI: Tensor, params: Params, config: LowRankConfig, /) -> Tensor:
        """Return the effective weight for ``update_OI`` in place of dW.

        Diagnostics differentiate it to carry the gradient of the effective weight back to ``W + dW``.
        """

    def factored(self, base: AnyBaseWeight, params: Params, config: LowRankConfig, /) -> Factored:
        """Return the map of `effective_weight` in thin factors, *batched*, without building a dense weight.

        Value and gradient equal those of `effective_weight`. Autograd differentiates this function: write no backward.
        """

    def as_peft(self, base: BaseWeight, params: Params, config: LowRankConfig, /) -> PeftForm | None:
        """Return the effective weight as PEFT's LoRA or DoRA if it is exactly one of the two, else None."""


def check_rank(rank: int, out_features: int, in_features: int) -> None:
    """Raise ValueError if ``rank`` is larger than the smaller side of the weight, beyond which no rank is used."""
    if rank > min(out_features, in_features):
        raise ValueError(
            f"rank={rank} is larger than the smaller side of a {out_features} x {in_features} weight: "
            f"use rank <= {min(out_features, in_features)} or other targets."
        )
