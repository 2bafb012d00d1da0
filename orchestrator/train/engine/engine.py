"""The interface between the training loop and an engine: logits, gradients, one optimizer step of every lane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from orchestrator.model.token_batch import TokenBatch


class Stepped(NamedTuple):
    """The result of a step: the gradient norm of each lane before clipping, and the sums of riders over the ranks.

    The norm of a gradient that is not finite is NaN.
    """

    norms: list[float]
    totals: list[float]


class Moments(NamedTuple):
    """AdamW's state of one lane: its number of updates, and its two moments, each a float32 vector (P,) on the CPU.

    The vector has the lane's tensors one after another, in the order of `d2lora.adapter_parameters`.
    """

    updates: int
    first_P: Tensor
    second_P: Tensor


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

    def step(self, rates: Sequence[float | None], riders: Tensor) -> Stepped:
        """Step each lane at its rate, by the average of the ranks' gradients; the rate of a lane that has left is None.

        A lane whose gradient is not finite is not stepped, and its norm is NaN; the other lanes are stepped as usual.
        ``riders`` are numbers of this rank, a vector, which the step adds up over the ranks.
        """

    def moments(self, lanes: Sequence[int]) -> dict[int, Moments]:
        """Return copies of AdamW's state of these lanes on rank 0, nothing on other ranks; every rank calls."""

    def set_moments(self, moments: Mapping[int, Moments]) -> None:
        """Set AdamW's state of these lanes, before the first step; every rank gets the same."""

    def close(self) -> None:
        """Release the model, so that the trainer can use it for the next pack."""
