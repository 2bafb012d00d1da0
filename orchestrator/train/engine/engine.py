"""What the training loop asks of an engine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from orchestrator.model.token_batch import TokenBatch


class Stepped(NamedTuple):
    """Each lane's gradient norm before clipping, NaN where it is not finite, and its loss summed over the ranks."""

    norms: list[float]
    losses: list[float]


class Scorer(Protocol):
    """Computes logits, on one rank of a world."""

    rank: int
    world: int
    device: torch.device
    model: nn.Module
    """The causal language model inside."""
    scatters: bool
    """Whether the base is whole only while its layers run, so that every rank must take part in every pass."""

    def logits(self, token_batch: TokenBatch) -> Tensor:
        """Return float32 logits (A, V) of the answers, with gradient where gradients are on."""

    def gather(self, value: object) -> list[object]:
        """Return the ranks' values, in rank order, on every rank."""


class Engine(Scorer, Protocol):
    """Computes gradients and steps the lanes as well."""

    def accumulating(self) -> AbstractContextManager[None]:
        """Within: the passes of one optimizer step; the lanes' gradients are whole after it."""

    def step(self, rates: Sequence[float | None], losses_L: Tensor) -> Stepped:
        """Step each lane at its rate (None: the lane has left), by the average of the ranks' gradients.

        A lane whose gradient is not finite does not step and its norm is NaN; the others step as if it were not there.
        """

    def close(self) -> None:
        """Let go of the model: a trainer takes pack after pack."""
