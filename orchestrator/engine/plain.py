"""The engine of one process: every lane is one flat vector, as under ZeRO."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from d2lora import adapter_parameters, held_factors
from orchestrator.answers import AnswerModel
from orchestrator.engine.lane_adamw import LaneAdamW
from orchestrator.packed import Packed
from orchestrator.spec import OptimSpec


class OneProcess:
    """A model in this process, to score with: there is one rank and nothing is scattered."""

    rank, world, scatters = 0, 1, False

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.device = device
        self.model = model.to(device)
        self._answers = AnswerModel(self.model)

    def logits(self, packed: Packed) -> Tensor:
        """Return the logits of the answers."""
        found: Tensor = self._answers(*packed.inputs(self.device))
        return found

    def total(self, values: Tensor) -> Tensor:
        """Return ``values``: there is one rank."""
        return values

    def gather(self, value: object) -> list[object]:
        """Return the value of the one rank."""
        return [value]

    def close(self) -> None:
        """Do nothing: what is no longer named is freed."""

    def whole(self, lane: int) -> AbstractContextManager[None]:  # noqa: ARG002 - nothing is ever scattered here
        """Do nothing."""
        return nullcontext()


class PlainEngine(OneProcess):
    """Plain PyTorch: no ranks, no partitions."""

    def __init__(self, model: nn.Module, lanes: int, optim: OptimSpec, device: torch.device) -> None:
        super().__init__(model, device)
        flat = [_flatten(list(adapter_parameters(model, lane).values())) for lane in range(lanes)]
        self._optimizer = LaneAdamW([[vector] for vector in flat], optim, sharded=False)

    @contextmanager
    def accumulating(self) -> Iterator[None]:
        """Compute norms once for all passes, and carry their gradients on to the lanes at the end."""
        with held_factors(self.model) as held:
            yield
            held.backward()

    def backward(self, loss: Tensor, last: bool) -> None:  # noqa: ARG002 - nothing is reduced here
        """Add to the gradients of the held factors."""
        loss.backward()  # type: ignore[no-untyped-call]

    def step(self, rates: Sequence[float | None]) -> list[float]:
        """Step each lane at its rate; NaN for a lane whose gradient is not finite."""
        norms = step_lanes(self._optimizer, rates)
        for group in self._optimizer.param_groups:
            for vector in group["params"]:
                vector.grad.zero_()
        return norms


def step_lanes(optimizer: LaneAdamW, rates: Sequence[float | None], step: object = None) -> list[float]:
    """Set the lanes' rates, step (``step()`` if given, else the optimizer) and return norms, NaN where not finite."""
    groups = sorted(optimizer.param_groups, key=lambda group: group["lane"])
    for group, rate in zip(groups, rates, strict=True):
        group["lr"], group["norm"] = rate, 0.0
    step() if callable(step) else optimizer.step()
    norms = [float(group["norm"]) for group in groups]
    return [norm if norm < float("inf") else float("nan") for norm in norms]


def _flatten(tensors: Sequence[Tensor]) -> nn.Parameter:
    """Return one vector of which the tensors, and their gradients, become views."""
    flat = nn.Parameter(torch.cat([tensor.detach().reshape(-1) for tensor in tensors]))
    flat.grad = torch.zeros_like(flat)
    begin = 0
    for tensor in tensors:
        end = begin + tensor.numel()
        tensor.data = flat.data[begin:end].view_as(tensor)
        tensor.grad = flat.grad[begin:end].view_as(tensor)
        begin = end
    return flat
