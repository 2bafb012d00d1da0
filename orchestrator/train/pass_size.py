"""How many tokens a pass holds while a pack trains: measured on a GPU's first step, and halved when memory is full."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal, Protocol

import torch

from orchestrator.errors import RunError
from orchestrator.machine import memory
from orchestrator.machine.full_memory import FULL
from orchestrator.model.loading import hidden_size
from orchestrator.train.accumulate import PassTooLargeError, StepLosses
from orchestrator.train.engine.engine import Engine
from orchestrator.train.passes import pass_tokens

_log = logging.getLogger(__name__)


class MemoryReader(Protocol):
    """The questions about a device's memory that the module `orchestrator.machine.memory` answers."""

    def reset_peak(self, device: torch.device) -> None:
        """Begin to measure the peak anew."""

    def held_bytes(self, device: torch.device) -> int:
        """Return the bytes that this process holds now."""

    def peak_bytes(self, device: torch.device) -> int:
        """Return the most bytes that this process has held since `reset_peak`."""

    def free_bytes(self, device: torch.device) -> int:
        """Return the bytes that are free for new tensors."""


class PassSize:
    """The size of the passes from now on: their tokens, ``most``, and the rows of a lane in one pass, ``micro_batch``.

    With "auto" on a GPU the first step runs in small passes. The memory that they take says how many tokens fit.
    """

    def __init__(
        self,
        wanted: int | Literal["auto"],
        micro_batch: int,
        engine: Engine,
        reader: MemoryReader = memory,
    ) -> None:
        self._engine, self._reader, self._hidden = engine, reader, hidden_size(engine.model)
        self.micro_batch = micro_batch
        self.most = pass_tokens(wanted, engine.device.type, self._hidden)
        self._to_measure = wanted == "auto" and engine.device.type == "cuda"

    def fitted(self, compute: Callable[[int, int], StepLosses], longest: int, lanes: int) -> StepLosses:
        """Return ``compute(most, micro_batch)`` for a step of ``lanes`` lanes whose rows have up to ``longest`` tokens.

        When memory is full, the step is computed again with half the tokens per pass. Once a pass holds one lane, the
        step is computed again with fewer rows of the lane per pass, down to one row. RunError, with the settings that
        help, if one row does not fit either, or if there are several ranks, because all ranks must run the same passes.
        """
        while True:
            try:
                return self._measured(compute)
            except PassTooLargeError as error:
                reason = str(error)
            # Here, not in the except block: there the error still refers to the tensors of the pass.
            memory.let_go(self._engine.device)
            self._shrink(longest, lanes, reason)

    def _measured(self, compute: Callable[[int, int], StepLosses]) -> StepLosses:
        """Compute; the first time on a GPU, measure the memory of a pass and set the size of the following passes."""
        if not self._to_measure:
            return compute(self.most, self.micro_batch)
        device = self._engine.device
        self._reader.reset_peak(device)
        before = self._reader.held_bytes(device)
        losses = compute(self.most, self.micro_batch)
        per_token = (self._reader.peak_bytes(device) - before) / losses.largest_pass
        fitting = pass_tokens("auto", device.type, self._hidden, per_token, self._reader.free_bytes(device))
        self.most = min(int(str(of_rank)) for of_rank in self._engine.gather(fitting))
        self._to_measure = False
        return losses

    def _shrink(self, longest: int, lanes: int, reason: str) -> None:
        """Halve the tokens per pass, down to the tokens of one lane; then reduce its rows. RunError at one row."""
        of_one_lane = self.micro_batch * longest
        before = min(self.most, lanes * of_one_lane)  # no pass can have had more
        if self._engine.world > 1 or self._engine.scatters:
            raise RunError(
                f"The {FULL} in passes of {before} tokens on one of several ranks: try engine.pass_tokens="
                f"{before // 2}, engine.gradient_checkpointing=true or a smaller optim.micro_batch. ({reason})"
            )
        if before > of_one_lane:
            self.most = max(before // 2, of_one_lane)
        elif self.micro_batch > 1:
            self.micro_batch = next_smaller(self.micro_batch)
            self.most = self.micro_batch * longest
        else:
            raise RunError(
                f"The {FULL} in a pass of {of_one_lane} tokens of one run: try "
                f"engine.gradient_checkpointing=true, a shorter data.max_length or a smaller cluster.pack. ({reason})"
            )
        _log.warning(
            "The %s in passes of %d tokens; passes have %d from now on. engine.pass_tokens=%d begins with this number, "
            "and engine.gradient_checkpointing=true needs less memory.", FULL, before, self.most, self.most,
        )  # fmt: skip


def next_smaller(micro_batch: int) -> int:
    """Return the largest divisor of ``micro_batch`` up to half of ``micro_batch``; the global batch stays the same.

    >>> [next_smaller(rows) for rows in (8, 6, 2)]
    [4, 3, 1]
    """
    return next(rows for rows in range(micro_batch // 2, 0, -1) if micro_batch % rows == 0)
