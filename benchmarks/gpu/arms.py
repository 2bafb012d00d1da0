"""The arms of the GPU check: lanes in this project's trainer, and PEFT in a plain loop, on a random Llama."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

import d2lora
from benchmarks.gpu.scale import Scale
from benchmarks.models import ATTENTION, RANK, TARGETS
from benchmarks.questions import make_items
from benchmarks.step_arms import Arm, frozen_arm, peft_arm
from orchestrator.data.tokens import Item
from orchestrator.model.answer_model import AnswerModel
from orchestrator.model.shortcuts import Shortcuts, take
from orchestrator.model.token_batch import TokenBatch, batch_rows
from orchestrator.recipe.sections import OptimSpec
from orchestrator.train.answer_loss import answer_losses
from orchestrator.train.engine.engine import Engine
from orchestrator.train.engine.plain import PlainEngine
from orchestrator.train.lanes import LanePlan, LaneStep
from orchestrator.train.loop import train_lanes

ANSWER = 4  # tokens of a row that are learned
RATE = 1e-3
FIRST = 3  # untimed steps at the start


def model_of(scale: Scale, hidden: int, *, layers: int, dtype: torch.dtype) -> Any:
    """Return a Llama with random weights that are rounded to bfloat16, so they are equal in float32 and bfloat16."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=scale.vocab,
        hidden_size=hidden,
        intermediate_size=intermediate(hidden),
        num_hidden_layers=layers,
        num_attention_heads=hidden // scale.head,
        num_key_value_heads=hidden // scale.head,
        max_position_embeddings=scale.length,
        bos_token_id=None,
        eos_token_id=None,
    )
    torch.manual_seed(0)
    with torch.device(scale.device):
        model = LlamaForCausalLM(config)
    for parameter in model.parameters():  # not model.to: the rotary frequencies stay float32, as when a base is loaded
        parameter.data = parameter.data.to(torch.bfloat16).to(dtype)
    return model


def intermediate(hidden: int) -> int:
    """Return the usual width of an MLP: 8/3 of the hidden size, in whole 32s."""
    return 32 * round(hidden * 8 / 3 / 32 + 0.34)


def lane(seed: int, method: str = "d2lora", **settings: Any) -> d2lora.Lane:
    """Return a lane of total rank ``2 * RANK`` per layer: D2-LoRA has two pairs of rank ``RANK`` each."""
    rank = RANK if method == "d2lora" else 2 * RANK
    return d2lora.Lane(method, d2lora.get_method(method).Config(rank=rank, alpha=2.0 * rank, **settings), seed)


def engine_of(model: Any, lanes: Sequence[d2lora.Lane], optim: OptimSpec, device: torch.device) -> PlainEngine:
    """Put lanes on the model as a trainer does; return the plain engine."""
    take(model, Shortcuts(blocks=True), device)
    d2lora.attach_lanes(model, lanes, TARGETS)
    return PlainEngine(model, len(lanes), optim, device)


@dataclass
class Story:
    """The record of a training: each lane's losses, and the time at which each step ended."""

    losses: dict[int, list[float]] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)

    def on_step(self, done: dict[int, LaneStep]) -> None:
        """Record a step that has ended: the gradient norms are on the host, so the device has finished the step."""
        self.times.append(time.perf_counter())
        for index, one in done.items():
            self.losses.setdefault(index, []).append(one.loss)

    @property
    def step_ms(self) -> list[float]:
        """The milliseconds of every step except the first ``FIRST`` steps."""
        pairs = list(zip(self.times, self.times[1:], strict=False))
        return [1000 * (end - begin) for begin, end in pairs[FIRST - 1 :] or pairs]


def optim_of(rows: int, epochs: float = 1.0) -> OptimSpec:
    """Return AdamW's settings for steps of one micro batch of ``rows`` rows per lane."""
    return OptimSpec(lr=RATE, epochs=epochs, micro_batch=rows, global_batch=rows, warmup=0.0)


def train(
    engine: Engine,
    items: Sequence[Item],
    seeds: Sequence[int],
    optim: OptimSpec,
    tokens: int | Literal["auto"] = "auto",
) -> Story:
    """Train one lane per data seed, in passes of ``tokens`` tokens; RuntimeError if a lane diverges."""
    story = Story()
    plans = [LanePlan.of("gpu", items, seed=seed, peak=RATE, optim=optim) for seed in seeds]
    diverged: list[int] = []
    train_lanes(engine, plans, optim, on_step=story.on_step, on_end=lambda _, bad: diverged.extend(bad), tokens=tokens)
    if diverged:
        raise RuntimeError(f"lanes {diverged} diverged: {story.losses}")
    return story


def items_of(scale: Scale, rows: int, steps: int, length: int | None = None) -> list[Item]:
    """Return the rows that one lane trains on in ``steps`` steps."""
    return make_items(rows * steps, length=length or scale.length, answer=ANSWER, vocab=scale.vocab)


@dataclass
class Peer:
    """PEFT's adapters in a plain loop, with the head on answer tokens only as in our trainer: only adapters differ."""

    arm: Arm
    scale: Scale
    rows: int

    def __post_init__(self) -> None:
        model = self.arm.model
        self._answers = AnswerModel(model.base_model.model if hasattr(model, "peft_config") else model)
        items = items_of(self.scale, self.rows, 1)
        self._rows = [(item.choices[0], item.starts[0]) for item in items]

    def step(self) -> None:
        """Do one optimizer step, with batch, gradient clipping and AdamW as in our trainer with one lane."""
        device = self.scale.device
        packed: TokenBatch = batch_rows(self._rows)
        logits_AV: Tensor = self._answers(*packed.inputs(device))
        losses_A = answer_losses(logits_AV, packed.wanted_A.to(device))
        losses_A.mean().backward()
        torch.nn.utils.clip_grad_norm_(self.arm.parameters.values(), 1.0)
        self.arm.optimizer.step()
        self.arm.optimizer.zero_grad()


def peer_of(scale: Scale, model: Any, rows: int, kind: str) -> Peer:
    """Return PEFT's LoRA or DoRA of rank ``2 * RANK`` on the attention layers, or the base alone."""
    if kind == "the base alone":
        return Peer(frozen_arm(model, ATTENTION), scale, rows)
    return Peer(peft_arm(model, ATTENTION, dora=kind == "PEFT DoRA"), scale, rows)


def wait(device: torch.device) -> None:
    """Wait until the device has finished all queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(work: Callable[[], object], device: torch.device, times: int, first: int = FIRST) -> list[float]:
    """Return the milliseconds of each of ``times`` calls, after ``first`` untimed calls."""
    samples = []
    for index in range(first + times):
        wait(device)
        begin = time.perf_counter()
        work()
        wait(device)
        if index >= first:
            samples.append(1000 * (time.perf_counter() - begin))
    return samples


def spread(samples: Sequence[float]) -> dict[str, float]:
    """Return median, minimum and maximum as columns of a table."""
    return {"ms a step": statistics.median(samples), "least": min(samples), "most": max(samples)}


def forget() -> None:
    """Give freed memory back to the device, so that every arm starts with the same free memory."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def vector_of(model: Any, index: int) -> Tensor:
    """Return all trained numbers of a lane as one vector of float64 on the CPU."""
    state = d2lora.adapter_state(model, index)
    return torch.cat([state[name].detach().double().cpu().flatten() for name in sorted(state)])


def apart(actual: Tensor, wanted: Tensor) -> float:
    """Return the relative error ``|actual - wanted| / |wanted|``."""
    return float((actual - wanted).norm() / wanted.norm())
