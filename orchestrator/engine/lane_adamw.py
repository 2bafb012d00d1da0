"""AdamW in which every parameter group is a lane: its own rate, its own clipping, its own end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

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
            "updates": 0,
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
            if group["norm"] != group["norm"] or group["norm"] == float("inf"):
                continue
            group["updates"] += 1
            clip = group["clip"]
            factor = 1.0 if clip is None else min(1.0, clip / (group["norm"] + 1e-6))
            for tensor in tensors:
                self._update(tensor, factor, group)

    def _norm(self, tensors: Sequence[Tensor]) -> float:
        gradients = [tensor.grad for tensor in tensors if tensor.grad is not None]
        total = torch.stack([at_least_float32(gradient).square().sum() for gradient in gradients]).sum()
        if self.sharded:
            torch.distributed.all_reduce(total)
        return float(total.sqrt())

    def _update(self, tensor: Tensor, factor: float, group: dict[str, Any]) -> None:
        assert tensor.grad is not None  # noqa: S101 - chosen by the caller
        state, gradient = self.state[tensor], tensor.grad * factor
        if not state:
            state["mean"], state["square"] = torch.zeros_like(tensor), torch.zeros_like(tensor)
        (beta1, beta2), updates, lr = group["betas"], group["updates"], group["lr"]
        mean, square = state["mean"], state["square"]
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        if group["weight_decay"]:
            tensor.mul_(1 - lr * group["weight_decay"])
        root = (square / (1 - beta2**updates)).sqrt_().add_(group["eps"])
        tensor.addcdiv_(mean, root, value=-lr / (1 - beta1**updates))
