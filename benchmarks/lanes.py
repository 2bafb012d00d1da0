"""Lanes of D2-LoRA in this project's own trainer, for the benches of memory and growth."""

from typing import Any

import torch

import d2lora
from benchmarks.models import RANK, TARGETS
from benchmarks.questions import make_items
from orchestrator.machine.memory import keep_freed_pages
from orchestrator.model.shortcuts import Shortcuts, take
from orchestrator.recipe.sections import OptimSpec
from orchestrator.train.engine.plain import PlainEngine
from orchestrator.train.lanes import LanePlan
from orchestrator.train.loop import train_lanes

ANSWER = 4  # answer tokens per row; only these are trained, and the head is applied only to them


def lane_engine(model: Any, lanes: int, rows: int) -> tuple[PlainEngine, OptimSpec]:
    """Put lanes of D2-LoRA on the model, as a trainer does; a step is one micro batch of ``rows`` rows per lane."""
    keep_freed_pages()
    optim = OptimSpec(lr=1e-4, epochs=1, micro_batch=rows, global_batch=rows)
    take(model, Shortcuts(blocks=True))
    d2lora.attach(model, "d2lora", d2lora.get_method("d2lora").Config(rank=RANK), TARGETS, lanes=lanes)
    return PlainEngine(model, lanes, optim, torch.device("cpu")), optim


def train(engine: PlainEngine, optim: OptimSpec, *, lanes: int, steps: int, length: int, vocab: int) -> None:
    """Train every lane for ``steps`` steps; all lanes have the same rows, each lane in an order of its own."""
    items = make_items(steps * optim.global_batch, length=length, answer=ANSWER, vocab=vocab)
    plans = [LanePlan.of("bench", items, seed=lane, peak=1e-4, optim=optim) for lane in range(lanes)]
    left: list[int] = []

    def on_end(finished: list[int], diverged: list[int]) -> None:
        left.extend(finished)
        if diverged:
            raise AssertionError(f"lanes {diverged} diverged")

    train_lanes(engine, plans, optim, on_step=lambda _: None, on_end=on_end)
    if sorted(left) != list(range(lanes)):
        raise AssertionError(f"of {lanes} lanes only {left} finished")
