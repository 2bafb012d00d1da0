"""The engine of one process, in plain PyTorch, and a scorer without lanes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from d2lora import adapter_parameters, held_factors
from orchestrator.model.answer_model import AnswerModel
from orchestrator.model.token_batch import TokenBatch
from orchestrator.recipe.sections import OptimSpec
from orchestrator.train.engine.engine import Moments, Stepped
from orchestrator.train.engine.lane_adamw import LaneAdamW
from orchestrator.train.engine.lane_vector import LaneVector


class OneProcess:
    """A scorer in this process alone: there is one rank, and nothing is scattered."""

    rank, world, scatters = 0, 1, False

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.device = device
        self.model = model.to(device)
        self._answers = AnswerModel(self.model)

    def logits(self, token_batch: TokenBatch) -> Tensor:
        """Return the float32 logits (A, V) that predict the batch's answer tokens."""
        logits_AV: Tensor = self._answers(*token_batch.inputs(self.device))
        return logits_AV

    def gather(self, value: object) -> list[object]:
        """Return the value of the only rank."""
        return [value]

    def close(self) -> None:
        """Do nothing: no hook holds the model, so Python frees it."""


class PlainEngine(OneProcess):
    """The engine of one process: one optimizer over all lanes, no partitions."""

    def __init__(self, model: nn.Module, lanes: int, optim: OptimSpec, device: torch.device) -> None:
        super().__init__(model, device)
        self._lanes = LaneVector(tensors_of_lanes(model, lanes), device)
        self._lanes.values.grad = self._lanes.gradient
        self._optimizer = LaneAdamW(self._lanes.values, self._lanes.sizes, optim)

    @contextmanager
    def accumulating(self) -> Iterator[None]:
        """Within: the caller runs the passes of a step. Weight norms are computed once for all passes.

        At the end the gradients with respect to the weight norms are carried on to the lanes' gradients.
        """
        with held_factors(self.model) as held:
            yield
            self._lanes.add(held.gradients(self._lanes.tensors))

    def step(self, rates: Sequence[float | None], riders: Tensor) -> Stepped:
        """Step each lane at its rate; the norm is NaN for a lane whose gradient is not finite."""
        self._optimizer.plan(rates, riders)
        self._optimizer.step()
        self._lanes.gradient.zero_()
        return stepped(self._optimizer)

    def moments(self, lanes: Sequence[int]) -> dict[int, Moments]:
        """Return copies of AdamW's state of these lanes."""
        return self._optimizer.moments(lanes)

    def set_moments(self, moments: Mapping[int, Moments]) -> None:
        """Set AdamW's state of these lanes, before the first step."""
        self._optimizer.set_moments(moments)


def tensors_of_lanes(model: nn.Module, lanes: int) -> list[list[Tensor]]:
    """Return the adapters' tensors of each lane."""
    return [list(adapter_parameters(model, lane).values()) for lane in range(lanes)]


def stepped(optimizer: LaneAdamW) -> Stepped:
    """Return norms and totals of the step that ``optimizer`` has taken; a norm that is not finite is NaN."""
    return Stepped([norm if math.isfinite(norm) else math.nan for norm in optimizer.norms], optimizer.totals)
