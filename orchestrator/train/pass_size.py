"""How many tokens a pass holds: measured where a GPU's memory decides, and halved where there was not enough."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from orchestrator.errors import RunError
from orchestrator.machine import memory as of_this_process
from orchestrator.machine.memory import FULL, let_go, out_of_memory
from orchestrator.model.loading import hidden_size
from orchestrator.train.engine.engine import Engine
from orchestrator.train.passes import pass_tokens

_log = logging.getLogger(__name__)


class MemoryReader(Protocol):
    """What is asked of a device's memory; the module `memory` answers."""

    def reset_peak(self, device: torch.device) -> None:
        """Start to watch anew."""

    def held_bytes(self, device: torch.device) -> int:
        """Return the bytes held now."""

    def peak_bytes(self, device: torch.device) -> int:
        """Return the most bytes held since."""

    def free_bytes(self, device: torch.device) -> int:
        """Return the bytes that there are for new tensors."""


class PassTooLargeError(RuntimeError):
    """The device's memory was full within a pass: nothing has been added to the lanes' gradients."""


class Summed(NamedTuple):
    """What the passes of a step gave: each lane's loss, the share of places with a token, the largest pass's places."""

    losses_L: Tensor
    utilisation: float
    places: int


@contextmanager
def within_pass() -> Iterator[None]:
    """Within: one pass is computed; PassTooLargeError where memory is full."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise PassTooLargeError(str(error).splitlines()[0]) from None


class PassSize:
    """The tokens of a pass, ``most``, and the rows of a lane in it, ``micro_batch``.

    On a GPU whose recipe leaves it open the first step goes in small passes, whose memory says how many tokens fit.
    """

    def __init__(
        self,
        wanted: int | Literal["auto"],
        micro_batch: int,
        engine: Engine,
        memory: MemoryReader = of_this_process,
    ) -> None:
        self._engine, self._memory, self._hidden = engine, memory, hidden_size(engine.model)
        self.micro_batch = micro_batch
        self.most = pass_tokens(wanted, engine.device.type, self._hidden)
        self._to_measure = wanted == "auto" and engine.device.type == "cuda"

    def fitted(self, compute: Callable[[int, int], Summed], longest: int, lanes: int) -> Summed:
        """Return ``compute(most, micro_batch)``, the passes of a step of ``lanes`` lanes with rows up to ``longest``.

        Where memory is full, half the tokens are tried, then half a lane's rows or fewer, down to one row. RunError
        says what helps where one row does not fit either, and where ranks must stay in step.
        """
        while True:
            try:
                return self._measured(compute)
            except PassTooLargeError as error:
                reason = str(error)
            let_go(self._engine.device)  # out here: within, the error still holds what the pass had made
            self._shrink(longest, lanes, reason)

    def _measured(self, compute: Callable[[int, int], Summed]) -> Summed:
        """Compute; the first time on a GPU, watch its memory and set the size of the passes that follow."""
        if not self._to_measure:
            return compute(self.most, self.micro_batch)
        device = self._engine.device
        self._memory.reset_peak(device)
        before = self._memory.held_bytes(device)
        summed = compute(self.most, self.micro_batch)
        each = (self._memory.peak_bytes(device) - before) / summed.places
        fits = pass_tokens("auto", device.type, self._hidden, each, self._memory.free_bytes(device))
        self.most = min(int(str(one)) for one in self._engine.gather(fits))
        self._to_measure = False
        return summed

    def _shrink(self, longest: int, lanes: int, reason: str) -> None:
        """Halve the tokens of a pass, but for those of one lane, then a lane's rows; RunError at one row."""
        lane = self.micro_batch * longest
        before = min(self.most, lanes * lane)  # no pass had more
        if self._engine.world > 1 or self._engine.scatters:
            raise RunError(
                f"The {FULL} in passes of {before} tokens on one of several ranks: try engine.pass_tokens={before // 2}"
                f", engine.gradient_checkpointing=true or a smaller optim.micro_batch. ({reason})"
            )
        if before > lane:
            self.most = max(before // 2, lane)
        elif self.micro_batch > 1:
            self.micro_batch = next(
                rows for rows in range(self.micro_batch // 2, 0, -1) if self.micro_batch % rows == 0
            )
            self.most = self.micro_batch * longest
        else:
            raise RunError(
                f"The {FULL} in a pass of {self.micro_batch * longest} tokens of one run: try "
                f"engine.gradient_checkpointing=true, a shorter data.max_length or a smaller cluster.pack. ({reason})"
            )
        _log.warning(
            "The %s in passes of %d tokens; they have %d from now on. engine.pass_tokens=%d begins so, and "
            "engine.gradient_checkpointing=true needs less.", FULL, before, self.most, self.most,
        )  # fmt: skip
