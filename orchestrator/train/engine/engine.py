"""The interface between the training loop and an engine: logits, gradients, one optimizer step of every lane."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from orchestrator.model.token_batch import TokenBatch


class Stepped(NamedTuple):
    """The result of a step per lane: the gradient norm before clipping, and the loss summed over the ranks.

    The norm of a gradient that is not finite is NaN.
    """

    norms: list[float]
    losses: list[float]


class Scorer(Protocol):
    """A model that computes logits, on one rank of a world of ranks."""

    rank: int
    world: int
    device: torch.device
    model: nn.Module
    """The causal language model itself."""
    scatters: bool
    """Whether a layer's base weight is whole only while the layer runs. Then every rank must run every pass."""

    def logits(self, token_batch: TokenBatch) -> Tensor:
        """Return the float32 logits (A, V) that predict the batch's answer tokens."""

    def gather(self, value: object) -> list[object]:
        """Return the ranks' values, in rank order, on every rank."""


class Engine(Scorer, Protocol):
    """A scorer that also computes gradients and steps the lanes."""

    def accumulating(self) -> AbstractContextManager[None]:
        """Within: the caller runs the passes of one optimizer step. At the end the lanes' gradients are complete."""

    def step(self, rates: Sequence[float | None], losses_L: Tensor) -> Stepped:
        """Step each lane at its rate, by the average of the ranks' gradients; the rate of a lane that has left is None.

        A lane whose gradient is not finite is not stepped, and its norm is NaN; the other lanes are stepped as usual.
        ``losses_L`` are this rank's losses, which the step adds up over the ranks.
        """

    def close(self) -> None:
        """Release the model, so that the trainer can use it for the next pack."""
