"""The engine of one process."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from d2lora import adapter_parameters, held_factors
from orchestrator.model.answer_model import AnswerModel
from orchestrator.model.token_batch import TokenBatch
from orchestrator.recipe.sections import OptimSpec
from orchestrator.train.engine.engine import Stepped
from orchestrator.train.engine.lane_adamw import LaneAdamW
from orchestrator.train.engine.lane_vector import LaneVector


class OneProcess:
    """A model in this process, to score with: there is one rank and nothing is scattered."""

    rank, world, scatters = 0, 1, False

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.device = device
        self.model = model.to(device)
        self._answers = AnswerModel(self.model)

    def logits(self, token_batch: TokenBatch) -> Tensor:
        """Return the logits of the answers."""
        logits_AV: Tensor = self._answers(*token_batch.inputs(self.device))
        return logits_AV

    def gather(self, value: object) -> list[object]:
        """Return the value of the one rank."""
        return [value]

    def close(self) -> None:
        """Do nothing: what is no longer named is freed."""


class PlainEngine(OneProcess):
    """Plain PyTorch: no ranks, no partitions."""

    def __init__(self, model: nn.Module, lanes: int, optim: OptimSpec, device: torch.device) -> None:
        super().__init__(model, device)
        self._lanes = LaneVector(tensors_of_lanes(model, lanes), device)
        self._lanes.values.grad = self._lanes.gradient
        self._optimizer = LaneAdamW(self._lanes.values, self._lanes.sizes, optim)

    @contextmanager
    def accumulating(self) -> Iterator[None]:
        """Compute norms once for all passes, and carry their gradients on to the lanes at the end."""
        with held_factors(self.model) as held:
            yield
            self._lanes.add(held.gradients(self._lanes.tensors))

    def step(self, rates: Sequence[float | None], losses_L: Tensor) -> Stepped:
        """Step each lane at its rate; NaN for a lane whose gradient is not finite."""
        self._optimizer.plan(rates, losses_L)
        self._optimizer.step()
        self._lanes.gradient.zero_()
        return stepped(self._optimizer)


def tensors_of_lanes(model: nn.Module, lanes: int) -> list[list[Tensor]]:
    """Return the adapters' tensors of each lane."""
    return [list(adapter_parameters(model, lane).values()) for lane in range(lanes)]


def stepped(optimizer: LaneAdamW) -> Stepped:
    """Return what a step did: norms, NaN where they are not finite, and losses."""
    return Stepped([norm if math.isfinite(norm) else math.nan for norm in optimizer.norms], optimizer.totals)
