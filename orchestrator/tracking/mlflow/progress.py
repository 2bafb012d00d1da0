"""A run's training as its run folder records it: its steps, how the run ended, and when training began and ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.store.run_folder import RunFolder


@dataclass(frozen=True)
class Progress:
    """The step log of a run's newest attempt (or of its commit), and the run's row once the run has ended.

    ``begin`` and ``end`` are wall-clock times of training in milliseconds since 1970, not those of the attempt: loading
    the base and scoring are outside.

    Example:
    >>> log = [{"step": 0, "time": 5000}, {"step": 1, "time": 5400}, {"step": 2, "time": 5800}]
    >>> run = Progress(log, ended=None, row={})
    >>> run.begin, run.end
    (4600, 5800)
    """

    steps: Sequence[Mapping[str, Any]]
    ended: str | None
    row: Mapping[str, Any]

    @classmethod
    def of(cls, folder: RunFolder) -> Progress:
        """Read a run folder; DamagedRunError where the row of an ended run cannot be read."""
        ended = folder.ended()  # before the steps: of a run that has ended, all steps are in the log
        return cls(folder.metrics(), ended, folder.row() if ended else {})

    @property
    def begin(self) -> int | None:
        """When the first step began; None where no step is logged.

        The step log has the time at which each step ended, so the length of the first step is unknown: it is taken to
        be that of the second. The first step may have been slower than the second: a run was trained for at least its
        ``train_seconds``, so its training began no later than that many seconds before its last step ended. For a run
        that was alone in its pack this is exact.
        """
        if not self.steps:
            return None
        first, second = (int(self.steps[index]["time"]) for index in (0, min(1, len(self.steps) - 1)))
        trained_ms = round(1000 * float(self.row.get("train_seconds") or 0.0))
        return min(first - max(0, second - first), int(self.steps[-1]["time"]) - trained_ms)

    @property
    def end(self) -> int | None:
        """When the last step ended; None where no step is logged."""
        return int(self.steps[-1]["time"]) if self.steps else None
