"""AdamW over lanes: each lane has its own rate, its own clipping and its own last step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw

from orchestrator.recipe.sections import OptimSpec
from orchestrator.train.engine.engine import Moments


class LaneAdamW(Optimizer):
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101) over one vector that holds lane after lane.

    If the vector is ``sharded`` over ``ranks``, each rank steps a part of it; ``begin`` is the part's first index in
    the whole vector. ``rates[l]`` is lane l's rate at the next step; a lane with rate None has left and is not touched.
    After a step ``norms[l]`` is the norm of the lane's gradient before clipping, over all ranks. A lane whose gradient
    is not finite is not stepped; only its norm is set.
    """

    def __init__(
        self, vector: Tensor, sizes: Sequence[int], optim: OptimSpec, ranks: int = 1, sharded: bool = False
    ) -> None:
        super().__init__([vector], {"lr": 0.0})
        self.optim, self.ranks, self.sharded, self.begin = optim, ranks, sharded, 0
        self._ends = list(accumulate(sizes, initial=0))
        self.rates: list[float | None] = [None] * len(sizes)
        self.norms = [0.0] * len(sizes)
        self.riders = torch.zeros(0)
        self.totals: list[float] = []

    def plan(self, rates: Sequence[float | None], riders: Tensor) -> None:
        """Set the rates of the next step.

        The step has one exchange between ranks, for the norms. ``riders`` are further numbers that this exchange adds
        up over the ranks; their sums are ``totals`` after the step.
        """
        self.rates, self.riders = list(rates), riders

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ARG002 - torch's signature
        """Update every lane that has a rate and a finite gradient, with one read of numbers from the device."""
        (vector,) = self.param_groups[0]["params"]
        gradient: Tensor = vector.grad
        spans = self._spans(vector.numel())
        self._measure(gradient, spans)
        for lane, (rate, norm) in enumerate(zip(self.rates, self.norms, strict=True)):
            span = spans.get(lane)
            if rate is None or not math.isfinite(norm):
                continue
            if span is None:  # on another rank, whose count of updates this rank shares
                self._state(vector)["steps_L"][lane] += 1
                continue
            if self.optim.clip is not None and norm + 1e-6 > self.optim.clip:
                gradient[span].mul_(self.optim.clip / (norm + 1e-6))
            self._update(vector, gradient, lane, span, rate)

    def _spans(self, size: int) -> dict[int, slice]:
        """Return the part of each lane that this rank holds, as a slice of the rank's vector of ``size`` numbers."""
        cut = [min(max(end - self.begin, 0), size) for end in self._ends]
        return {lane: slice(low, high) for lane, (low, high) in enumerate(pairwise(cut)) if low < high}

    def _measure(self, gradient: Tensor, spans: dict[int, slice]) -> None:
        """Set the lanes' norms and the totals of the riders, over all ranks."""
        squares_L = torch.zeros(len(self.norms), dtype=torch.float64, device=gradient.device)
        if spans:
            parts = [torch.linalg.vector_norm(gradient[span], dtype=torch.float64) for span in spans.values()]
            squares_L[min(spans) : max(spans) + 1] = torch.stack(parts).square()  # lanes follow one another
        whole = self.ranks if not self.sharded else 1  # the number of ranks that add the same squares
        sums = torch.cat([squares_L / whole, self.riders.to(squares_L)])
        if self.ranks > 1:
            torch.distributed.all_reduce(sums)
        numbers = sums.tolist()
        lanes = len(self.norms)
        self.norms, self.totals = [math.sqrt(number) for number in numbers[:lanes]], numbers[lanes:]

    def moments(self, lanes: Sequence[int]) -> dict[int, Moments]:
        """Return copies of the state of these lanes on rank 0; every rank calls, because a sharded state is gathered.

        Other ranks get nothing.
        """
        (vector,) = self.param_groups[0]["params"]
        state = self._state(vector)
        first, second = self._gathered(state["exp_avg"]), self._gathered(state["exp_avg_sq"])
        if first is None or second is None:
            return {}
        updates = state["steps_L"].tolist()
        parts = {lane: slice(self._ends[lane], self._ends[lane + 1]) for lane in lanes}
        return {lane: Moments(int(updates[lane]), _copy(first[at]), _copy(second[at])) for lane, at in parts.items()}

    def set_moments(self, moments: Mapping[int, Moments]) -> None:
        """Set the state of these lanes, as far as this rank holds it."""
        (vector,) = self.param_groups[0]["params"]
        state, spans = self._state(vector), self._spans(vector.numel())
        for lane, of_lane in moments.items():
            state["steps_L"][lane] = of_lane.updates
            if span := spans.get(lane):
                begin = self.begin + span.start - self._ends[lane]
                part = slice(begin, begin + span.stop - span.start)
                state["exp_avg"][span] = of_lane.first_P[part].to(vector.device)
                state["exp_avg_sq"][span] = of_lane.second_P[part].to(vector.device)

    def _state(self, vector: Tensor) -> dict[str, Tensor]:
        """Return the moments of ``vector`` and the updates of each lane; zeros before the first update."""
        state: dict[str, Tensor] = self.state[vector]
        if not state:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(vector), torch.zeros_like(vector)
            state["steps_L"] = torch.zeros(len(self.norms), dtype=torch.float32, device=vector.device)
        return state

    def _gathered(self, part: Tensor) -> Tensor | None:
        """Return the whole vector of which this rank holds ``part``, on rank 0; None on other ranks."""
        if self.ranks == 1 or not self.sharded:
            return part if self.ranks == 1 or torch.distributed.get_rank() == 0 else None
        rank_0 = torch.distributed.get_rank() == 0
        parts = [torch.empty_like(part) for _ in range(self.ranks)] if rank_0 else None
        torch.distributed.gather(part, parts)
        return torch.cat(parts) if parts else None

    def _update(self, vector: Tensor, gradient: Tensor, lane: int, span: slice, rate: float) -> None:
        """Update one lane by torch's fused kernel, which reads parameters, gradients and moments once."""
        state = self._state(vector)
        beta1, beta2 = self.optim.betas
        adamw(
            [vector[span]],
            [gradient[span]],
            [state["exp_avg"][span]],
            [state["exp_avg_sq"][span]],
            [],
            [state["steps_L"][lane]],
            fused=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=rate,
            weight_decay=self.optim.weight_decay,
            eps=self.optim.eps,
            maximize=False,
        )


def _copy(part: Tensor) -> Tensor:
    """Return a copy on the CPU: later steps change the moments in place."""
    return part.detach().to("cpu", copy=True)
