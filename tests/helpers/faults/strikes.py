"""Strikes at the trainers of a sweep on Ray, many within one start of the driver."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tests.helpers.faults.kills import Job, processes, steps_done

RANK = "ray::Rank"
"""The title of the processes that train."""


class TrainerStrikes:
    """Sends a signal to trainers at drawn numbers of steps; a `Disturb` that lasts as long as its job.

    ``strikes`` has how many ranks each strike hit, ``recoveries`` the seconds from each strike to the next new step.
    """

    def __init__(
        self, sweep: Path, title: str, steps: int, times: int, seed: int, sent: signal.Signals = signal.SIGKILL
    ) -> None:
        self._sweep, self._title, self._sent = sweep, title, sent
        self._drawn = random.Random(seed)
        self._at = [(steps * number + self._drawn.randrange(steps)) // times for number in range(times)]
        self.strikes: list[int] = []
        self.recoveries: list[float] = []

    def __call__(self, job: Job, mark: str) -> str:
        """Strike until the sweep has ended."""
        struck, before = 0.0, 0
        for at in self._at:
            while (done := steps_done(self._sweep)) < at or (struck and done <= before):
                if job.poll() is not None:
                    return f"struck {len(self.strikes)} times"
                time.sleep(0.05)
            if struck:
                self.recoveries.append(time.monotonic() - struck)
            if hit := self._strike(processes(mark, self._title)):
                self.strikes.append(hit)
                struck, before = time.monotonic(), steps_done(self._sweep)
        return f"struck {len(self.strikes)} times"

    def _strike(self, ranks: Sequence[psutil.Process]) -> int:
        """Strike one rank, the other, or all, in turn; return how many were hit."""
        chosen = [ranks[:1], ranks[1:] or ranks, ranks][len(self.strikes) % 3]
        hit = 0
        for process in chosen:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(self._sent)
                hit += 1
        return hit
