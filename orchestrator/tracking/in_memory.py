"""A tracker that keeps everything in memory: for tests, and for ``tracking.uri=none``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.plan.runs import PlannedRun
from orchestrator.store.champion import run_key_in
from orchestrator.store.sweep_folder import SweepFolder


class MemoryTracker:
    """Keeps the last state of each run, the summary and the champions as attributes."""

    def __init__(self) -> None:
        self.steps: dict[str, list[dict[str, Any]]] = {}
        self.ended: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.summary: dict[str, Any] = {}
        self.champions: dict[str, str] = {}
        self.before: dict[str, str] = {}

    def look(self) -> None:
        """Do nothing."""

    def connect(self) -> None:
        """Do nothing."""

    def sync(self, runs: Sequence[PlannedRun], folder: Path) -> None:
        """Read steps and ends from the run folders."""
        for run in runs:
            place = SweepFolder(folder).run(run.key)
            self.steps[run.key] = place.metrics()
            ended = place.ended()
            if ended:
                self.ended[run.key] = ended

    def fail(self, run: PlannedRun, error: str) -> None:
        """Remember the error."""
        self.failed[run.key] = error

    def interrupt(self) -> None:
        """Do nothing."""

    def unshown(self, runs: Sequence[PlannedRun], folder: Path) -> int:  # noqa: ARG002 - the contract's arguments
        """Return 0: memory shows everything."""
        return 0

    def moves(self) -> int:
        """Return 0: there are no requests."""
        return 0

    def run_id(self, key: str) -> str | None:  # noqa: ARG002 - the contract's argument
        """Return None: no run has a page."""
        return None

    def summarise(self, summary: Mapping[str, Any], folder: Path, complete: bool) -> None:  # noqa: ARG002
        """Remember the summary."""
        self.summary = dict(summary)

    def register(
        self,
        task: str,
        evaluation: Mapping[str, Any],
        place: Path,  # noqa: ARG002 - the contract's argument
        before: Path | None = None,
    ) -> None:
        """Remember which run is the champion, and which run was the champion before."""
        self.champions[task] = str(evaluation["run_key"])
        if before is None:
            self.before.pop(task, None)
        else:
            self.before[task] = str(run_key_in(before))
