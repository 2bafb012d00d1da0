"""AdamW in which every parameter group is a lane: its own rate, its own clipping, its own end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw

from d2lora.norms import at_least_float32
from orchestrator.spec import OptimSpec


class LaneAdamW(Optimizer):
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101) over lanes.

    A group holds one lane's tensors, or the part of them that this rank keeps (``sharded``, as ZeRO flattens and
    partitions them); the norm for clipping is taken over the whole lane, all ranks included. A group with ``lr`` None
    has left and is not touched. A gradient that is not finite changes nothing and leaves ``norm`` as it is found.
    """

    def __init__(self, lanes: Sequence[Sequence[Tensor]], optim: OptimSpec, sharded: bool) -> None:
        groups = [{"params": list(tensors), "lane": lane} for lane, tensors in enumerate(lanes)]
        defaults = {
            "lr": None,
            "betas": tuple(optim.betas),
            "eps": optim.eps,
            "weight_decay": optim.weight_decay,
            "clip": optim.clip,
            "norm": 0.0,
        }
        super().__init__(groups, defaults)
        self.sharded = sharded

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ARG002 - torch's signature
        """Update every lane whose ``lr`` is set; a lane's ``norm`` is that of its gradient before clipping."""
        for group in self.param_groups:
            tensors = [tensor for tensor in group["params"] if tensor.grad is not None]
            if group["lr"] is None or not tensors:  # ZeRO-3 steps one lane at a time, with the other groups empty
                continue
            group["norm"] = self._norm(tensors)
            if not group["norm"] < float("inf"):
                continue
            self._update(tensors, self._clipped(tensors, group), group)

    def _norm(self, tensors: Sequence[Tensor]) -> float:
        norms = [at_least_float32(tensor.grad).norm() for tensor in tensors if tensor.grad is not None]
        total = torch.stack(norms).square().sum()
        if self.sharded:
            torch.distributed.all_reduce(total)
        return float(total.sqrt())

    def _clipped(self, tensors: Sequence[Tensor], group: dict[str, Any]) -> list[Tensor]:
        """Return the gradients, scaled in place if the lane's norm is beyond its limit."""
        gradients = [tensor.grad for tensor in tensors if tensor.grad is not None]
        if group["clip"] is not None and group["norm"] + 1e-6 > group["clip"]:
            for gradient in gradients:
                gradient.mul_(group["clip"] / (group["norm"] + 1e-6))
        return gradients

    def _update(self, tensors: Sequence[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        """Let torch's fused kernel update the lane: one pass over its parameters, gradients and moments."""
        for tensor in tensors:
            if not self.state[tensor]:
                self.state[tensor] |= {"exp_avg": torch.zeros_like(tensor), "exp_avg_sq": torch.zeros_like(tensor)}
                self.state[tensor]["step"] = torch.zeros((), dtype=torch.float32, device=tensor.device)
        states = [self.state[tensor] for tensor in tensors]
        beta1, beta2 = group["betas"]
        adamw(
            list(tensors),
            gradients,
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )
