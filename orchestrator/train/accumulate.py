"""The gradients of one optimizer step: run its passes forward and back, and sum their losses per lane."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from d2lora import lane_rows
from orchestrator.machine.memory import out_of_memory
from orchestrator.train.answer_loss import answer_losses
from orchestrator.train.engine.engine import Engine
from orchestrator.train.step_passes import GlobalBatch, StepCut, StepPass, passes_of_step
from orchestrator.train.to_device import passes_on


class StepLosses(NamedTuple):
    """The result of a step's passes on this rank.

    ``losses_L`` (float64, on the device) is the loss of each lane, summed over this rank's answer tokens.
    ``utilisation`` is the share of tokens among the positions of all passes, padding included. ``largest_pass`` is the
    number of positions of the largest pass.
    """

    losses_L: Tensor
    utilisation: float
    largest_pass: int


class PassTooLargeError(RuntimeError):
    """The device's memory was full within a pass.

    The step can be computed again, because nothing has been added to the lanes' gradients yet: an engine that holds
    factors (`Engine.accumulating`) adds the gradients of all passes at the end of the step, and an error skips the end.
    """


def accumulate(engine: Engine, batches: Mapping[int, GlobalBatch], draws: Sequence[int], cut: StepCut) -> StepLosses:
    """Add up the gradients of one step in the adapters of ``engine``; ``batches[l]`` is the global batch of lane l.

    ``draws[l]`` is the number of the step of lane l, from which dropout is drawn; there is a draw for each lane of the
    pack, including lanes that have left. PassTooLargeError if a pass does not fit into the device's memory.
    """
    lanes = len(draws)
    passes = passes_on(engine.device, passes_of_step(batches, lanes, cut))
    sums_L = torch.zeros(lanes, dtype=torch.float64, device=engine.device)
    with engine.accumulating():
        for step_pass in passes:
            sums_L += _forward_and_back(engine, step_pass, draws) * step_pass.counted_L
    positions = [step_pass.token_batch.ids_BT.numel() for step_pass in passes]
    return StepLosses(sums_L, sum(step_pass.tokens for step_pass in passes) / sum(positions), max(positions))


def _forward_and_back(engine: Engine, step_pass: StepPass, draws: Sequence[int]) -> Tensor:
    """Add one pass's gradients to the adapters; return the loss (L,) of each lane, summed over its answer tokens.

    The total that is differentiated is the *sum* of the lanes' weighted losses. A lane's loss depends on no other
    lane's adapter, so the lanes' gradients never mix.
    """
    token_batch = step_pass.token_batch
    rows = lane_rows(engine.model, step_pass.counts, draws, step_pass.lengths, step_pass.row_numbers)
    with within_pass(), rows:
        losses_A = answer_losses(engine.logits(token_batch), token_batch.wanted_A)
        losses_L = losses_A.new_zeros(len(step_pass.counts)).index_add(0, step_pass.lane_A, losses_A)
        (losses_L * step_pass.weight_L.to(losses_L.dtype)).sum().backward()  # type: ignore[no-untyped-call]
    return losses_L.detach()


@contextmanager
def within_pass() -> Iterator[None]:
    """Within: one pass is computed; an error that says that memory is full becomes a PassTooLargeError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise PassTooLargeError(str(error).splitlines()[0]) from None
