"""What a sweep asks of a tracker: show what the run folders hold. Never called from the training path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from orchestrator.plan.runs import PlannedRun


class Tracker(Protocol):
    """Shows a sweep. Every call may be repeated: it sends what is not there yet."""

    def look(self) -> None:
        """Refuse at once, and without loading more than it takes, a place that no waiting mends; InputError."""

    def connect(self) -> None:
        """Make sure that the place to write to exists; InputError with the remedy if it cannot be reached."""

    def sync(self, runs: Sequence[PlannedRun], folder: Path) -> None:
        """Send the steps and the ends of these runs that have not been sent."""

    def fail(self, run: PlannedRun, error: str) -> None:
        """Show that a run could not be trained this time."""

    def run_id(self, key: str) -> str | None:
        """Return the tracker's name for a run, if it has one."""

    def summarise(self, summary: Mapping[str, Any], folder: Path, complete: bool) -> None:
        """Put statistics, and what the sweep's folder has, on the parents and end them."""

    def register(self, task: str, evaluation: Mapping[str, Any], place: Path) -> None:
        """Put a champion into the registry under the alias ``champion``, once."""
