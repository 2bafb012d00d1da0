"""A DeepSpeed configuration of one's own: the keys that lanes leave free, and why they forbid the others (ADR 39)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from d2lora.names import unknown
from orchestrator.errors import InputError
from orchestrator.paths import readable
from orchestrator.recipe.frozen import Frozen

MAX_BYTES = 100_000  # as a recipe


def _whole(value: Any) -> Any:
    """Return 500000000 for 5e8, as DeepSpeed's own examples write it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Numbers = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=10**15)]


class OffloadOptimizer(Frozen):
    """Where the state of AdamW lies: ``cpu`` is the host's memory."""

    device: Literal["cpu", "none"] = "none"
    pin_memory: bool | None = None
    buffer_count: Numbers | None = None


class OffloadParam(Frozen):
    """Where the frozen base lies at stage 3: ``cpu`` is the host's memory."""

    device: Literal["cpu", "none"] = "none"
    pin_memory: bool | None = None
    buffer_count: Numbers | None = None
    buffer_size: Numbers | None = None
    max_in_cpu: Numbers | None = None


class ZeroOptions(Frozen):
    """The keys of ``zero_optimization`` that move data in other portions, in another order, or to the host."""

    allgather_partitions: bool | None = None
    allgather_bucket_size: Numbers | None = None
    reduce_scatter: bool | None = None
    reduce_bucket_size: Numbers | None = None
    overlap_comm: bool | None = None
    contiguous_gradients: bool | None = None
    round_robin_gradients: bool | None = None
    use_multi_rank_bucket_allreduce: bool | None = None
    sub_group_size: Numbers | None = None
    offload_optimizer: OffloadOptimizer | None = None
    offload_param: OffloadParam | None = None
    stage3_prefetch_bucket_size: Numbers | None = None
    stage3_param_persistence_threshold: Numbers | None = None
    stage3_model_persistence_threshold: Numbers | None = None
    stage3_max_live_parameters: Numbers | None = None
    stage3_max_reuse_distance: Numbers | None = None
    stage3_module_granularity_threshold: Numbers | None = None
    stage3_use_all_reduce_for_fetch_params: bool | None = None
    stage3_allgather_sequential: bool | None = None


class DeepSpeedSpec(Frozen):
    """What a recipe may set of DeepSpeed; every key that is left out has this project's value, or DeepSpeed's."""

    zero_optimization: ZeroOptions | None = None
    wall_clock_breakdown: bool | None = None
    memory_breakdown: bool | None = None
    dump_state: bool | None = None

    def options(self, *, base: bool) -> dict[str, Any]:
        """Return the keys of ``zero_optimization`` for the scattered base (stage 3), or for the vector of the lanes."""
        given = self.zero_optimization.model_dump(exclude_none=True) if self.zero_optimization else {}
        own = {name for name in given if name.startswith("stage3_") or name == "offload_param"}
        own |= {"sub_group_size"} & given.keys()
        other = {"offload_optimizer"}
        return {name: value for name, value in given.items() if name not in (other if base else own)}

    @property
    def debugging(self) -> dict[str, Any]:
        """The keys that let DeepSpeed print what it does."""
        return self.model_dump(exclude_none=True, exclude={"zero_optimization"})

    def fault(self, stage: int) -> str | None:
        """Return why this stage of ZeRO has no use for one of these keys, and the remedy; None if every key fits."""
        zero = self.zero_optimization or ZeroOptions()
        if zero.offload_optimizer and zero.offload_optimizer.device == "cpu" and stage == 0:
            return "offload_optimizer needs a stage that shards: engine.stage=1, 2 or 3."
        if zero.offload_param and zero.offload_param.device == "cpu" and stage != 3:
            return f"offload_param moves a base that is scattered, and stage {stage} keeps it whole: engine.stage=3."
        return None


BATCHES = "optim.global_batch and optim.micro_batch decide it"
PRECISION = "model.dtype decides the type of the base, and lanes are float32"
RESULTS = "it changes the results of runs, and no run key knows it"
MONITORS = "tracking.uri names what shows the sweep"
FORBIDDEN = {
    **dict.fromkeys(("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps"), BATCHES),
    "optimizer": "lanes have an AdamW of their own: optim.weight_decay, optim.betas, optim.eps",
    "scheduler": "each lane has a rate of its own: optim.lr, optim.schedule, optim.warmup",
    "gradient_clipping": "lanes are clipped one by one: optim.clip",
    **dict.fromkeys(("fp16", "bf16", "amp", "torch_autocast", "data_types", "communication_data_type"), PRECISION),
    "activation_checkpointing": "engine.gradient_checkpointing=true does it",
    "zero_allow_untested_optimizer": "it is set, for the AdamW of lanes",
    "zero_force_ds_cpu_optimizer": "it is set, for the AdamW of lanes",
    "steps_per_print": "the sweep shows its progress itself",
    **dict.fromkeys(("tensorboard", "wandb", "csv_monitor", "comet", "flops_profiler"), MONITORS),
    **dict.fromkeys(
        (
            *("prescale_gradients", "gradient_predivide_factor", "sparse_gradients", "sparse_attention"),
            *("compression_training", "quantize_training", "curriculum_learning", "data_efficiency"),
            *("progressive_layer_drop", "eigenvalue", "zero_quantized_weights", "zero_quantized_gradients"),
            "zero_quantized_nontrainable_weights",
        ),
        RESULTS,
    ),
    **dict.fromkeys(
        ("autotuning", "elasticity", "hybrid_engine", "pipeline", "tensor_parallel", "checkpoint", "aio", "zenflow"),
        "lanes are trained without it",
    ),
    "stage": "engine.stage decides it",
    "compute_grad_norm": "lanes have norms of their own",
    "nvme_path": "device: cpu is offered; DeepSpeed's operator for NVMe is not built",
    "cpu_offload": "it is DeepSpeed's old word: offload_optimizer: {device: cpu}",
    "cpu_offload_param": "it is DeepSpeed's old word: offload_param: {device: cpu}",
}
"""Keys of DeepSpeed that a recipe must not set, each with what stands in its place, or why nothing does."""


def read_deepspeed(value: Any, place: str) -> dict[str, Any]:
    """Return the checked keys of ``engine.deepspeed``: those of the JSON file that it names, or those below it.

    ``place`` is where the recipe says so. InputError names the file, the key, what is wrong, and the remedy.
    """
    prefix = "engine.deepspeed."
    if isinstance(value, str):
        path = _path(value, place)
        value, place, prefix = _json_in(path, place), str(path), ""
    if not isinstance(value, dict):
        raise InputError(f"{place}: engine.deepspeed is the path of a JSON file, or its keys. Write {{...}}.")
    _check(value, DeepSpeedSpec, prefix, place)
    try:
        return DeepSpeedSpec.model_validate(value).model_dump(exclude_none=True)
    except ValidationError as error:
        lines = [
            f"{place}: {prefix}{'.'.join(map(str, one['loc']))}: {one['msg']} (found {str(one['input'])[:80]!r})"
            for one in error.errors()
        ]
        raise InputError("\n".join(lines)) from None


def _path(value: str, place: str) -> Path:
    """Return the path of a JSON file; InputError where no regular file is, before anything is opened."""
    try:
        path = readable(value)
        if os.path.isfile(path):  # a pipe would be waited for
            return path
    except (OSError, ValueError):  # a name that no file can have
        path = Path(value)
    raise InputError(
        f"{place}: engine.deepspeed={str(path)[:200]!r}: there is no such file. Give the path of a JSON file, or the "
        "keys themselves."
    )


def _json_in(path: Path, place: str) -> Any:
    """Return the JSON in a file; InputError if there is none, if it is too large, or if a key stands twice."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{place}: {path} cannot be read: {error.strerror}. Make it readable.") from None
    if len(content) > MAX_BYTES:
        raise InputError(f"{path} has more than {MAX_BYTES:,} bytes: this is no configuration of DeepSpeed.")
    try:
        return json.loads(content, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON that can be used: {error}. Mend it there.") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise ValueError(f"the key {twice[0]!r} stands twice")
    return dict(pairs)


def _check(value: Mapping[str, Any], spec: type[Frozen], prefix: str, place: str) -> None:
    """Refuse keys that lanes forbid, each with its reason, and unknown keys, each with the nearest known one."""
    for key, inner in value.items():
        if key in FORBIDDEN:
            raise InputError(f"{place}: {prefix}{key} cannot be set: {FORBIDDEN[key]}. Leave it out.")
        if key not in spec.model_fields:
            raise InputError(f"{place}: {prefix}{key}: {unknown('key', key, spec.model_fields)}")
        if inner == "auto":
            raise InputError(f"{place}: {prefix}{key}: auto is a word of another trainer. Leave the key out.")
        section = _section(spec, key)
        if section is not None:
            if not isinstance(inner, dict):
                raise InputError(f"{place}: {prefix}{key} holds keys, not {str(inner)[:80]!r}. Write {{...}}.")
            _check(inner, section, f"{prefix}{key}.", place)


def _section(spec: type[Frozen], key: str) -> type[Frozen] | None:
    """Return the class of the keys below a key; None if the key holds a value."""
    parts = getattr(spec.model_fields[key].annotation, "__args__", ())
    return next((part for part in parts if isinstance(part, type) and issubclass(part, Frozen)), None)
