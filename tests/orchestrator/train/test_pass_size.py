"""Passes that do not fit: what is tried, that nothing else changes by it, and what is said where nothing fits."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

import d2lora
from orchestrator.errors import RunError
from orchestrator.model.loading import enable_checkpointing
from orchestrator.recipe.sections import OptimSpec
from orchestrator.train.accumulate import PassTooLargeError, StepLosses, within_pass
from orchestrator.train.engine.plain import PlainEngine
from orchestrator.train.lanes import LanePlan, LaneStep
from orchestrator.train.loop import train_lanes
from orchestrator.train.pass_size import PassSize
from orchestrator.train.passes import FILLED, FIRST_TOKENS, GPU_VALUES, pass_tokens
from tests.helpers.models.tiny_llama import TARGETS, questions, tiny_llama

OPTIM = OptimSpec(lr=1e-2, epochs=1, micro_batch=4, global_batch=8, warmup=0.1)
ROWS = 16
CUDA = torch.device("cuda")


class Small(PlainEngine):
    """An engine on a device that holds ``room`` tokens of a pass, and ten times as many with checkpointing."""

    room = 10**9

    def logits(self, token_batch: Any) -> Tensor:
        room = self.room * (10 if getattr(self.model, "is_activation_checkpointing", False) else 1)
        made = super().logits(token_batch)
        if token_batch.ids_BT.numel() > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines.")
        return made


def trained(room: int = 10**9, tokens: Any = 10**6, checkpointing: bool = False) -> tuple[list[float], list[Tensor]]:
    """Train three lanes in float64; return their losses and adapters."""
    model = tiny_llama().double()
    config = d2lora.get_method("d2lora").Config(rank=2)
    d2lora.attach(model, "d2lora", config, TARGETS, lanes=3)
    if checkpointing:
        enable_checkpointing(model)
    engine = Small(model, 3, OPTIM, torch.device("cpu"))
    engine.room = room
    losses: list[float] = []

    def keep(done: dict[int, LaneStep]) -> None:
        losses.extend(one.loss for one in done.values())

    plans = [LanePlan.of("a", questions(ROWS, seed=3), seed, 1e-2, OPTIM) for seed in range(3)]
    train_lanes(engine, plans, OPTIM, on_step=keep, on_end=lambda *_: None, tokens=tokens)
    return losses, [tensor for lane in range(3) for tensor in d2lora.adapter_state(model, lane).values()]


@pytest.mark.parametrize("room", [120, 16])  # three lanes' rows need about 150 tokens, one lane's 60, one row 15
def test_a_pass_that_does_not_fit_is_cut_and_training_comes_out_the_same(
    room: int, caplog: pytest.LogCaptureFixture
) -> None:
    whole_losses, whole = trained()
    losses, cut = trained(room)
    assert losses == pytest.approx(whole_losses, rel=1e-10)
    assert all(torch.allclose(one, other, rtol=1e-9, atol=1e-10) for one, other in zip(cut, whole, strict=True))
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "engine.gradient_checkpointing=true" in told[-1]
    tokens = int(told[-1].split("engine.pass_tokens=")[1].split()[0])
    caplog.clear()
    trained(room, tokens)  # the remedy
    if room > 60:  # one lane fits
        assert not caplog.records


def test_a_single_row_that_does_not_fit_ends_it_and_the_remedy_helps() -> None:
    with pytest.raises(RunError, match=r"full in a pass of \d+ tokens of one run: .*checkpointing=true") as one:
        trained(6)
    assert "CUDA out of memory. Tried to allocate 2.00 GiB.)" in str(one.value)
    trained(6, checkpointing=True)


def test_other_errors_of_a_pass_are_not_taken_for_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes") as caught, within_pass():
        raise RuntimeError("shapes do not fit")
    assert not isinstance(caught.value, PassTooLargeError)
    for error in (torch.OutOfMemoryError("CUDA out of memory"), MemoryError("none")):
        with pytest.raises(PassTooLargeError), within_pass():
            raise error


@dataclass
class Rank:
    """An engine, as far as a `PassSize` asks, on a GPU that is not there."""

    world: int = 1
    scatters: bool = False
    others: tuple[int, ...] = ()
    device: torch.device = CUDA
    model: Any = field(default_factory=lambda: tiny_llama(hidden=64))

    def gather(self, value: object) -> list[object]:
        return [value, *self.others]


@dataclass
class Memory:
    """A GPU's memory, in which a token of a pass needs ``each`` bytes."""

    each: float
    free: int
    held: int = 500
    peak: int = 0
    read: int = 0

    def reset_peak(self, device: torch.device) -> None:
        self.peak, self.read = self.held, self.read + 1

    def held_bytes(self, device: torch.device) -> int:
        return self.held

    def peak_bytes(self, device: torch.device) -> int:
        return self.peak

    def free_bytes(self, device: torch.device) -> int:
        return self.free

    def passed(self, most: int, micro_batch: int) -> StepLosses:
        positions = most - 48  # passes are rarely filled to the last token
        self.peak = self.held + int(self.each * positions)
        return StepLosses(torch.zeros(1), 1.0, positions)


def test_the_first_step_on_a_gpu_is_measured_and_says_how_many_tokens_fit() -> None:
    memory = Memory(each=1000.0, free=10_000_000)
    size = PassSize("auto", 4, Rank(), memory)
    sizes = []

    def compute(most: int, micro_batch: int) -> StepLosses:
        sizes.append(most)
        return memory.passed(most, micro_batch)

    for _ in range(3):
        size.fitted(compute, 10, 100)
    assert sizes == [FIRST_TOKENS, int(FILLED * 10_000), int(FILLED * 10_000)]
    assert memory.read == 1


@pytest.mark.parametrize(("wanted", "device"), [(512, CUDA), ("auto", torch.device("cpu"))])
def test_nothing_is_measured_where_the_recipe_or_the_cpu_decides(wanted: Any, device: torch.device) -> None:
    memory = Memory(each=1000.0, free=10_000_000)
    size = PassSize(wanted, 4, Rank(device=device), memory)
    most = size.most
    size.fitted(memory.passed, 10, 100)
    assert (memory.read, size.most) == (0, most)


def test_ranks_take_the_least_that_any_of_them_has_room_for() -> None:
    memory = Memory(each=1000.0, free=10_000_000)
    size = PassSize("auto", 4, Rank(world=2, others=(77,)), memory)
    size.fitted(memory.passed, 10, 100)
    assert size.most == 77


def test_tokens_that_fit_are_never_none_and_never_more_than_pays() -> None:
    assert pass_tokens("auto", "cuda", 64, 1e12, 10) == 1
    assert pass_tokens("auto", "cuda", 64, 0.0, 10**12) == GPU_VALUES // 64
    assert pass_tokens("auto", "cuda", 64, 1000.0, 10_000_000) == int(FILLED * 10_000)
    assert pass_tokens(9, "cuda", 64, 1000.0, 10_000_000) == 9


@pytest.mark.parametrize("rank", [Rank(world=2), Rank(scatters=True)])
def test_ranks_that_must_stay_in_step_end_with_the_setting_that_helps(rank: Rank) -> None:
    def full(most: int, micro_batch: int) -> StepLosses:
        if most > 1024:
            raise PassTooLargeError("CUDA out of memory.")
        return StepLosses(torch.zeros(1), 1.0, most)

    with pytest.raises(RunError, match=r"memory is full in passes of 2048 tokens .* engine\.pass_tokens=1024"):
        PassSize("auto", 4, rank, Memory(1.0, 1)).fitted(full, 10, 100)
    PassSize(1024, 4, rank).fitted(full, 10, 100)  # the remedy


def test_what_is_tried_halves_tokens_then_rows_down_to_one_of_any_micro_batch() -> None:
    tried: list[tuple[int, int]] = []

    def full(most: int, micro_batch: int) -> StepLosses:
        tried.append((most, micro_batch))
        raise PassTooLargeError("full")

    with pytest.raises(RunError):
        PassSize(10**6, 6, Rank(device=torch.device("cpu"))).fitted(full, 10, 4)  # four lanes bring 240 tokens
    assert tried == [(10**6, 6), (120, 6), (60, 6), (30, 3), (10, 1)]
