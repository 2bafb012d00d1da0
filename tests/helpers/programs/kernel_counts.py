"""Count the operations of one optimizer step, views left out, and how often it reads a number from the device.

usage: kernel_counts.py ENGINE METHOD DTYPE OUT     ENGINE: plain, or a ZeRO stage
OUT gets {number of passes: {kernels, reads}} as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

os.environ["DS_ACCELERATOR"] = "cpu"

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig, LlamaForCausalLM

import d2lora
from orchestrator.recipe.sections import OptimSpec
from orchestrator.train.engine.engine import Engine
from orchestrator.train.lanes import LanePlan, LaneStep
from orchestrator.train.loop import train_lanes
from tests.helpers.models.tiny_llama import questions

LANES, BLOCKS = 4, 4
LAYERS = 4 * BLOCKS
VIEWS = {
    "view",
    "_unsafe_view",
    "t",
    "transpose",
    "expand",
    "slice",
    "select",
    "unsqueeze",
    "squeeze",
    "permute",
    "detach",
    "alias",
    "as_strided",
    "split",
    "split_with_sizes",
    "unbind",
    "reshape",
    "lift_fresh",
    "promote_types",
    "is_same_size",
    "_reshape_alias",
}
READ = "_local_scalar_dense"


class Counting(TorchDispatchMode):
    """Counts operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        if name not in VIEWS:
            self.seen[name] += 1
        return function(*args, **(kwargs or {}))


def engine_of(kind: str, model: torch.nn.Module, optim: OptimSpec) -> Engine:
    if kind == "plain":
        from orchestrator.train.engine.plain import PlainEngine

        return PlainEngine(model, LANES, optim, torch.device("cpu"))
    from orchestrator.train.engine.zero import ZeroEngine

    return ZeroEngine(model, LANES, optim, torch.device("cpu"), int(kind))


def counted(kind: str, method: str, dtype: torch.dtype, passes: int) -> dict[str, int]:
    """Return the kernels and reads of the last of three steps of ``passes`` passes each."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=BLOCKS,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config).to(dtype)
    optim = OptimSpec(epochs=1, micro_batch=8 // passes, global_batch=8)
    lanes = [d2lora.Lane(method, d2lora.get_method(method).Config(rank=4), seed) for seed in range(LANES)]
    d2lora.attach_lanes(model, lanes, [f"*.{name}_proj" for name in "qkvo"])
    engine = engine_of(kind, model, optim)
    plans = [LanePlan.of("task", questions(24, seed=1), seed, 1e-3, optim) for seed in range(LANES)]
    after: list[Counter[str]] = []

    def on_step(done: dict[int, LaneStep]) -> None:
        after.append(counting.seen.copy())

    with Counting() as counting:
        train_lanes(engine, plans, optim, on_step=on_step, on_end=lambda *_: None)
    step = after[-1] - after[-2]
    return {"kernels": step.total() - step[READ], "reads": step[READ]}


if __name__ == "__main__":
    kind, method, dtype, out = sys.argv[1:]
    counts = {passes: counted(kind, method, getattr(torch, dtype), passes) for passes in (1, 2)}
    Path(out).write_text(json.dumps(counts))
