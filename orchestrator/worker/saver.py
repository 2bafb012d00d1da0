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
        self._writing: Future[list[str]] | None = None
        self._unsaved: list[str] = []

    def wish(self) -> Wish:
        """Wish to stop if the trainer is told to; on rank 0 wish to save if it is time and the last save is written."""
        if self._control.stopping:
            return Wish.STOP
        due = self._clock() - self._last >= min(self._seconds, max(self._seconds / SOONER, self._last - self._begin))
        busy = self._writing is not None and not self._writing.done()
        return Wish.SAVE if self._seconds and self._engine.rank == 0 and due and not busy else Wish.NOTHING

    def save(self, lanes: Sequence[int], diverged: Sequence[int]) -> None:
        """Copy these lanes, and begin to write them as soon as the previous save is written."""
        if not self._seconds:
            return
        moments = self._engine.moments(lanes)
        self._last = self._clock()
        together = tuple(self._runs[lane].run.key for lane in lanes)
        leaving = tuple(self._runs[lane].run.key for lane in diverged)
        copies = []
        for lane in lanes:
            if attempt := self._runs[lane].attempt:
                adapter = d2lora.adapter_state(self._engine.model, lane)
                copies.append((attempt, self._runs[lane].checkpoint(adapter, moments[lane], together, leaving)))
        self.wait()
        if copies:
            self._writing = self._thread.submit(_write, copies)

    def stop(self) -> NoReturn:
        """Wait on every rank until the lanes are on disk, as a rank that ends may end the others; then StoppedError."""
        self.wait()
        self._engine.gather(None)
        if not self._seconds:
            raise StoppedError("The trainer was told to stop; engine.checkpoint_seconds=0 saves no runs.")
        if self._unsaved:
            raise StoppedError(f"The trainer was told to stop, and not all is saved: {'; '.join(self._unsaved)}.")
        raise StoppedError("The trainer was told to stop, and has saved its runs.")

    def wait(self) -> None:
        """Wait until the last save is on disk, or has failed."""
        if self._writing:
            self._unsaved = self._writing.result()
            self._writing = None

    def close(self) -> None:
        """Wait for the last save, and end the thread."""
        self._thread.shutdown()


def _write(copies: Sequence[tuple[Attempt, Checkpoint]]) -> list[str]:
    """Write the checkpoints; return why some were not. A disk that fails costs checkpoints, not the training."""
    unsaved = []
    for attempt, checkpoint in copies:
        try:
            write_checkpoint(attempt.path, checkpoint)
        except OSError as error:
            unsaved.append(f"no checkpoint of run {checkpoint.run_key} at step {checkpoint.step}: {error}")
            _log.warning("%s", unsaved[-1])
    return unsaved
