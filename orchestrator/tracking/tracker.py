"""The contract of a tracker, which shows what the run folders hold. Only the driver calls a tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from orchestrator.plan.runs import PlannedRun


class Tracker(Protocol):
    """Shows a sweep. Every call may be repeated: a repeated call sends only what is missing."""

    def look(self) -> None:
        """Refuse at once an address that waiting does not mend; InputError. Loads as little as it can."""

    def connect(self) -> None:
        """Make sure that the place to write to exists; InputError with the remedy if waiting does not mend it."""

    def sync(self, runs: Sequence[PlannedRun], folder: Path) -> None:
        """Send the steps and ends of these runs that were not sent yet; ``folder`` is the sweep's."""

    def fail(self, run: PlannedRun, error: str) -> None:
        """Show the error of a run that could not be trained this time."""

    def interrupt(self) -> None:
        """Show as ended, until it goes on, whatever is shown as running: the sweep is broken off."""

    def unshown(self, runs: Sequence[PlannedRun], folder: Path) -> int:
        """Return how many of these runs have begun and are not shown to their ends; asks no server."""

    def moves(self) -> int:
        """Return a number that grows with each request that has ended, so that a request that hangs is noticed."""

    def run_id(self, key: str) -> str | None:
        """Return the tracker's id of the run with this key; None if the tracker has no such run."""

    def summarise(self, summary: Mapping[str, Any], folder: Path, complete: bool) -> None:
        """Put statistics and the files of the sweep's folder on the parents, and end the parents."""

    def register(self, task: str, evaluation: Mapping[str, Any], place: Path, before: Path | None = None) -> None:
        """Put a champion, whose directory is ``place``, into the registry under the alias ``champion``, once.

        ``before`` is the directory of the champion that it has replaced, which gets the alias ``champion-before``.
        """
