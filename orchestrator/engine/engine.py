"""What the training loop asks of an engine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor, nn

from orchestrator.packed import Packed


class Scorer(Protocol):
    """Computes logits, on one rank of a world."""

    rank: int
    world: int
    device: torch.device
    model: nn.Module
    """The causal language model inside."""

    def logits(self, packed: Packed) -> Tensor:
        """Return float32 logits (A, V) of the answers, with gradient where gradients are on."""

    def gather(self, value: object) -> list[object]:
        """Return the ranks' values, in rank order, on every rank."""


class Engine(Scorer, Protocol):
    """Computes gradients and steps the lanes as well."""

    scatters: bool
    """Whether parameters are whole only while their layer runs, so that every rank must take part in every pass."""

    def accumulating(self) -> AbstractContextManager[None]:
        """Within: the passes of one optimizer step; the parameters' gradients are whole after it."""

    def backward(self, loss: Tensor, last: bool) -> None:
        """Add the gradient of ``loss``, averaged over the ranks; ``last`` says that no other pass follows."""

    def step(self, rates: Sequence[float | None]) -> list[float]:
        """Step each lane at its rate (None: it has left) and return each lane's gradient norm before clipping.

        A lane whose gradient is not finite does not step and gets NaN; the others step as if it were not there.
        """

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of ``values`` over the ranks."""

    def close(self) -> None:
        """Let go of the model: a trainer takes pack after pack."""

    def whole(self, lane: int) -> AbstractContextManager[None]:
        """Within: the parameters of ``lane`` are whole on this rank (ZeRO-3 scatters them)."""
