"""The engine of many processes, by DeepSpeed ZeRO stages 0 to 3. The only file that imports DeepSpeed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn

from d2lora import held_factors
from d2lora.attachment import adapted_layers
from orchestrator.model.answer_model import AnswerModel
from orchestrator.model.token_batch import TokenBatch
from orchestrator.recipe.deepspeed import DeepSpeedSpec
from orchestrator.recipe.sections import OptimSpec
from orchestrator.train.engine.engine import Moments, Stepped
from orchestrator.train.engine.group import join_group
from orchestrator.train.engine.lane_adamw import LaneAdamW
from orchestrator.train.engine.lane_vector import LaneVector
from orchestrator.train.engine.plain import stepped, tensors_of_lanes


class ZeroEngine:
    """DeepSpeed around the lanes and, at stage 3, around the base; ranks come from ``torch.distributed``.

    DeepSpeed reduces and shards one float32 vector that holds all lanes (`LaneVector`). At stage 3 it scatters the base
    by stage 3 and the vector by stage 2, because adapters are small and stay whole. The vector is float32 over a base
    of any type. ``own`` are keys of DeepSpeed's configuration that the recipe sets.
    """

    def __init__(
        self,
        model: nn.Module,
        lanes: int,
        optim: OptimSpec,
        device: torch.device,
        stage: int,
        own: DeepSpeedSpec | None = None,
    ) -> None:
        self._deepspeed = _deepspeed(device)
        join_group(device)
        self.rank, self.world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self.device, self.scatters, self.model = device, stage == 3, model
        self._optim, self._own, self._answers = optim, own, AnswerModel(model)
        tensors = tensors_of_lanes(model, lanes)
        if self.scatters:
            _hide_adapters(model)
            self._base = self._initialize(self._answers, 3)
        else:
            self._answers.to(device)
        self._lanes = LaneVector(tensors, device)
        self._optimizer = LaneAdamW(self._lanes.values, self._lanes.sizes, optim, self.world, sharded=stage > 0)
        self._engine = self._initialize(_Vector(self._lanes.values), min(stage, 2), self._optimizer)
        (here,) = self._optimizer.param_groups[0]["params"]
        self._optimizer.begin = self.rank * here.numel() if stage else 0
        self._lanes.attach()  # DeepSpeed has moved the vector into a buffer of its own

    def logits(self, token_batch: TokenBatch) -> Tensor:
        """Return the float32 logits (A, V) that predict the batch's answer tokens."""
        return cast(Tensor, self._answers(*token_batch.inputs(self.device)))

    @contextmanager
    def accumulating(self) -> Iterator[None]:
        """Within: the caller runs the passes of a step. At the end one backward gives DeepSpeed the lanes' gradients.

        Weight norms are computed once for all passes; at stage 3 in every pass, because a layer's weight is whole only
        while the layer runs. DeepSpeed differentiates the dot product values . gradient of the `LaneVector`: the
        derivative with respect to the values is the gradient.
        """
        with nullcontext() if self.scatters else held_factors(self.model) as held:
            yield
            if held is not None:
                self._lanes.add(held.gradients(self._lanes.tensors))
        self._engine.set_gradient_accumulation_boundary(True)
        self._engine.backward(torch.dot(self._lanes.values, self._lanes.gradient), scale_wrt_gas=False)
        self._lanes.gradient.zero_()

    def step(self, rates: Sequence[float | None], riders: Tensor) -> Stepped:
        """Step each lane at its rate; the norm is NaN for a lane whose gradient was not finite on some rank."""
        self._optimizer.plan(rates, riders)
        self._engine.step()
        return stepped(self._optimizer)

    def moments(self, lanes: Sequence[int]) -> dict[int, Moments]:
        """Return copies of AdamW's state of these lanes on rank 0, gathered from all ranks; nothing on other ranks."""
        return self._optimizer.moments(lanes)

    def set_moments(self, moments: Mapping[int, Moments]) -> None:
        """Set this rank's part of AdamW's state of these lanes, before the first step."""
        self._optimizer.set_moments(moments)

    def gather(self, value: object) -> list[object]:
        """Return the values of all ranks, in rank order, on every rank."""
        values: list[object] = [None] * self.world
        torch.distributed.all_gather_object(values, value)
        return values

    def close(self) -> None:
        """Remove DeepSpeed's hooks from the model.

        The hooks are in C++ and hold DeepSpeed's engines, where Python's garbage collector does not see them.
        """
        self._engine.destroy()
        if self.scatters:
            self._base.destroy()
            _show_adapters(self.model)
            _forget_modules()

    def _initialize(self, module: nn.Module, stage: int, optimizer: LaneAdamW | None = None) -> Any:
        config = deepspeed_config(stage, self._optim, self.world, next(module.parameters()).dtype)
        if self._own is not None:
            config = with_own(config, self._own)
        engine, *_ = self._deepspeed.initialize(
            model=module, optimizer=optimizer, config=config, dist_init_required=False
        )
        if optimizer is not None and stage > 0:  # else it would skip the step of all lanes if one lane is not finite
            engine.optimizer.compute_grad_norm = False
        return engine


class _Vector(nn.Module):
    """The module that DeepSpeed trains: the lanes' vector and nothing else."""

    def __init__(self, values: nn.Parameter) -> None:
        super().__init__()
        self.values = values


def deepspeed_config(stage: int, optim: OptimSpec, world: int, dtype: torch.dtype) -> dict[str, Any]:
    """Return DeepSpeed's configuration. DeepSpeed must not clip, because `LaneAdamW` clips lane by lane."""
    buckets = {"reduce_bucket_size": 5_000_000, "overlap_comm": False}
    if stage in (1, 2):
        buckets |= {"allgather_bucket_size": 5_000_000, "compute_grad_norm": False}
    return {
        "train_micro_batch_size_per_gpu": optim.micro_batch,
        "gradient_accumulation_steps": optim.micro_steps(world),
        "gradient_clipping": 0.0,
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {"stage": stage} | buckets,
        "bf16": {"enabled": dtype == torch.bfloat16},
        "steps_per_print": 1_000_000_000,
    }


def with_own(config: Mapping[str, Any], own: DeepSpeedSpec) -> dict[str, Any]:
    """Return a configuration with the recipe's own keys; they replace this project's values of the same keys."""
    zero = config["zero_optimization"]
    options = own.options(base=zero["stage"] == 3)
    if options.get("offload_optimizer", {}).get("device") == "cpu":
        options["compute_grad_norm"] = True  # DeepSpeed does not begin to offload without; `_initialize` ends it
    return {
        **config,
        **own.debugging,
        "zero_optimization": zero | options,
        "zero_force_ds_cpu_optimizer": False,  # DeepSpeed would refuse the AdamW of lanes with offload_optimizer
    }


def _hide_adapters(model: nn.Module) -> None:
    """Make adapters plain attributes of their layers, because stage 3 scatters every registered parameter."""
    for layer in adapted_layers(model).values():
        for name in [name for name in layer._parameters if name not in ("weight", "bias")]:
            vars(layer)[name] = layer._parameters.pop(name)


def _show_adapters(model: nn.Module) -> None:
    """Register the adapters that `_hide_adapters` has hidden as parameters again."""
    for layer in adapted_layers(model).values():
        for name in [name for name, value in vars(layer).items() if isinstance(value, nn.Parameter)]:
            layer.register_parameter(name, vars(layer).pop(name))


def _forget_modules() -> None:
    """Empty a stack and an unbounded cache in which ZeRO-3 keeps every module for the life of the process."""
    from deepspeed.runtime.zero.parameter_offload import FWD_MODULE_STACK
    from deepspeed.runtime.zero.partitioned_param_coordinator import PartitionedParameterCoordinator

    FWD_MODULE_STACK.clear()
    wrapped = PartitionedParameterCoordinator._PartitionedParameterCoordinator__params_to_release
    for cell in wrapped.__closure__ or ():
        if hasattr(cell.cell_contents, "cache_clear"):
            cell.cell_contents.cache_clear()


def _deepspeed(device: torch.device) -> Any:
    """Import DeepSpeed for this device; on CPUs, without its shared-memory operator.

    Every process compiles this operator on first use, which takes a minute and is a race between the ranks. gloo does
    not need it.
    """
    if device.type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed

    if device.type == "cpu":
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed
