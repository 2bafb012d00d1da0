"""Write the checkpoints of a pack's runs while it trains: copied between two steps, written in a thread (ADR 35)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NoReturn

import d2lora
from orchestrator.control import Control
from orchestrator.errors import StoppedError
from orchestrator.store.attempt import Attempt
from orchestrator.store.checkpoint import Checkpoint, write_checkpoint
from orchestrator.train.engine.engine import Engine
from orchestrator.train.saving import Wish
from orchestrator.worker.run_in_training import RunInTraining

_log = logging.getLogger(__name__)
SOONER = 12  # the first checkpoint comes after this part of the time between two


class PackSaver:
    """The `Saving` of one rank of one pack; rank 0 writes. With ``seconds`` 0 nothing is written.

    The time between two checkpoints begins with a part of ``seconds`` and doubles, because a trainer that is killed
    soon is more likely to be killed soon again: it has lost half of its time at most.
    """

    def __init__(
        self,
        engine: Engine,
        runs: Sequence[RunInTraining],
        control: Control,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._runs, self._control, self._seconds, self._clock = engine, runs, control, seconds, clock
        self._begin = self._last = clock()
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._writing: Future[None] | None = None

    def wish(self) -> Wish:
        """Wish to stop if the trainer is told to; on rank 0 wish to save if it is time and the last save is written."""
        if self._control.stopping:
            return Wish.STOP
        due = self._clock() - self._last >= min(self._seconds, max(self._seconds / SOONER, self._last - self._begin))
        busy = self._writing is not None and not self._writing.done()
        return Wish.SAVE if self._seconds and self._engine.rank == 0 and due and not busy else Wish.NOTHING

    def save(self, lanes: Sequence[int]) -> None:
        """Copy these lanes, and begin to write them as soon as the previous save is written."""
        if not self._seconds:
            return
        moments = self._engine.moments(lanes)
        self._last = self._clock()
        written = [lane for lane in lanes if self._runs[lane].attempt]
        together = tuple(self._runs[lane].run.key for lane in lanes)
        copies = []
        for lane in written:
            attempt, adapter = self._runs[lane].attempt, d2lora.adapter_state(self._engine.model, lane)
            if attempt:
                copies.append((attempt, self._runs[lane].checkpoint(adapter, moments[lane], together)))
        self.wait()
        if copies:
            self._writing = self._thread.submit(_write, copies)

    def stop(self) -> NoReturn:
        """Wait on every rank until the lanes are on disk, as a rank that ends may end the others; then StoppedError."""
        self.wait()
        self._engine.gather(None)
        raise StoppedError("The trainer was told to stop, and has saved its runs." if self._seconds else
                           "The trainer was told to stop; engine.checkpoint_seconds=0 saves no runs.")  # fmt: skip

    def wait(self) -> None:
        """Wait until the last save is on disk, or has failed."""
        if self._writing:
            self._writing.result()
            self._writing = None

    def close(self) -> None:
        """Wait for the last save, and end the thread."""
        self._thread.shutdown()


def _write(copies: Sequence[tuple[Attempt, Checkpoint]]) -> None:
    """Write the checkpoints. A disk that fails costs checkpoints, not the training."""
    for attempt, checkpoint in copies:
        try:
            write_checkpoint(attempt.path, checkpoint)
        except OSError as error:
            _log.warning("No checkpoint of run %s at step %d: %s", checkpoint.run_key, checkpoint.step, error)
