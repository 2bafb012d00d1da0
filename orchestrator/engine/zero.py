"""The engine of many processes: DeepSpeed ZeRO stages 0 to 3, a lane a parameter group. The one door to DeepSpeed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from d2lora import adapter_parameters, held_factors
from orchestrator.answers import AnswerModel
from orchestrator.engine.lane_adamw import LaneAdamW
from orchestrator.engine.plain import step_lanes
from orchestrator.packed import Packed
from orchestrator.spec import OptimSpec


class ZeroEngine:
    """DeepSpeed around the answer model; ranks come from ``torch.distributed``, which is up before this."""

    def __init__(self, model: nn.Module, lanes: int, optim: OptimSpec, device: torch.device, stage: int) -> None:
        deepspeed = _deepspeed(device)
        _join()
        self.rank, self.world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self.device, self.scatters = device, stage == 3
        tensors = [list(adapter_parameters(model, lane).values()) for lane in range(lanes)]
        self._tensors = tensors
        self._broken_L = torch.zeros(lanes, device=device)
        for lane, parameters in enumerate(tensors):
            for parameter in parameters:
                parameter.register_hook(self._guard(lane))  # type: ignore[no-untyped-call]
        self._optimizer = LaneAdamW(tensors, optim, sharded=stage > 0)
        self._answers = AnswerModel(model).to(device)
        config = deepspeed_config(stage, optim, self.world, next(model.parameters()).dtype)
        self._engine, *_ = deepspeed.initialize(
            model=self._answers, optimizer=self._optimizer, config=config, dist_init_required=False
        )
        self._gathered = deepspeed.zero.GatheredParameters
        self.model = model

    def logits(self, packed: Packed) -> Tensor:
        """Return the logits of the answers."""
        model = self._engine if self.scatters else self._answers
        return cast(Tensor, model(*packed.inputs(self.device)))

    @contextmanager
    def accumulating(self) -> Iterator[None]:
        """Compute norms once for all passes; DeepSpeed then sees one backward, from the factors to the adapters.

        Stage 3 holds nothing: a layer's parameters are whole only while it runs.
        """
        if self.scatters:
            # Stage 3 copies into this in the first pass of a step and adds in later ones: what a lane that is not in
            # the first pass has left there from the step before would be added to.
            self._engine.optimizer.grad_partitions_flat_buffer.zero_()
            yield
            return
        with held_factors(self.model) as held:
            yield
            pending = [(built * gradient).sum() for built, gradient in held.pending()]
            self._reduce(torch.stack(pending).sum(), last=True)  # its gradient is theirs

    def backward(self, loss: Tensor, last: bool) -> None:
        """Add to the gradients, of the held factors or, at stage 3, of the parameters."""
        if self.scatters:
            self._reduce(loss, last)
        else:
            loss.backward()  # type: ignore[no-untyped-call]

    def _reduce(self, loss: Tensor, last: bool) -> None:
        """Let DeepSpeed carry the gradient to the parameters; it averages over the ranks and, at the last, reduces."""
        self._engine.set_gradient_accumulation_boundary(last)
        self._engine.backward(loss, scale_wrt_gas=False)

    def step(self, rates: Sequence[float | None]) -> list[float]:
        """Step each lane at its rate; NaN for a lane whose gradient was not finite on any rank."""
        torch.distributed.all_reduce(self._broken_L)
        broken = self._broken_L.bool().tolist()
        self._broken_L.zero_()
        living = [None if bad else rate for rate, bad in zip(rates, broken, strict=True)]
        norms = step_lanes(self._optimizer, living, self._engine.step)
        return [float("nan") if bad else norm for norm, bad in zip(norms, broken, strict=True)]

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over the ranks."""
        there = values.to(self.device)  # nccl reduces no CPU tensors
        torch.distributed.all_reduce(there)
        return there.to(values.device)

    def gather(self, value: object) -> list[object]:
        """Return the ranks' values on every rank."""
        found: list[object] = [None] * self.world
        torch.distributed.all_gather_object(found, value)
        return found

    def whole(self, lane: int) -> AbstractContextManager[None]:
        """Gather the lane's parameters, which stage 3 scatters; without this they would read as empty."""
        return cast(AbstractContextManager[None], self._gathered(self._tensors[lane], enabled=self.scatters))

    def close(self) -> None:
        """Let go of the model: hooks written in C++ hold DeepSpeed's engine, where no garbage collector sees them."""
        self._engine.destroy()
        if self.scatters:
            _forget_modules()

    def _guard(self, lane: int) -> Any:
        """Return a hook that keeps a lane's bad gradient to itself: ZeRO would skip the step of every lane."""

        def guard(gradient: Tensor) -> Tensor:
            if bool(gradient.isfinite().all()):
                return gradient
            self._broken_L[lane] = 1
            return torch.zeros_like(gradient)

        return guard


def deepspeed_config(stage: int, optim: OptimSpec, world: int, dtype: torch.dtype) -> dict[str, Any]:
    """Return DeepSpeed's configuration: our optimizer clips lane by lane, so DeepSpeed must not."""
    return {
        "train_micro_batch_size_per_gpu": optim.micro_batch,
        "gradient_accumulation_steps": optim.micro_steps(world),
        "gradient_clipping": 0.0,
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {"stage": stage, "reduce_bucket_size": 5_000_000, "overlap_comm": False}
        | ({"allgather_bucket_size": 5_000_000} if stage in (1, 2) else {}),
        "bf16": {"enabled": dtype == torch.bfloat16},
        "steps_per_print": 1_000_000_000,
    }


def _forget_modules() -> None:
    """Empty what ZeRO-3 keeps of every module for the life of the process: a stack, and an unbounded cache."""
    from deepspeed.runtime.zero.parameter_offload import FWD_MODULE_STACK
    from deepspeed.runtime.zero.partitioned_param_coordinator import PartitionedParameterCoordinator

    FWD_MODULE_STACK.clear()
    wrapped = PartitionedParameterCoordinator._PartitionedParameterCoordinator__params_to_release
    for cell in wrapped.__closure__ or ():
        if hasattr(cell.cell_contents, "cache_clear"):
            cell.cell_contents.cache_clear()


def _deepspeed(device: torch.device) -> Any:
    """Import DeepSpeed for this device, without its shared-memory operator on CPUs.

    That operator is compiled on first use, by every process at once: a race, and a minute (gloo does without it).
    """
    if device.type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed

    if device.type == "cpu":
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


def _join() -> None:
    """Make sure of a process group: a launcher has made it, or this process is alone."""
    if not torch.distributed.is_initialized():
        for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}.items():
            os.environ.setdefault(name, value)
        store = torch.distributed.HashStore()  # type: ignore[attr-defined]
        torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
