"""What a trainer and its supervisor tell each other while a pack trains: progress, ends of runs, a wish to stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class RunEnd:
    """The end of a run, as its trainer reports it.

    ``status`` is committed, diverged or stopped, ``attempt`` the number of the attempt that ended the run, ``seal`` the
    sha256 of the manifest on disk (`store.manifest`). The row of results is on disk alone: hub and driver keep the ends
    of 100,000 runs.
    """

    key: str
    status: str
    attempt: int
    seal: str


class Control(Protocol):
    """The trainer's side of the conversation. No call raises because its listener is slow."""

    @property
    def stopping(self) -> bool:
        """Whether the trainer shall save its runs after the current step and raise `errors.StoppedError`."""

    def progress(self, steps: Mapping[str, int]) -> None:
        """Note how many optimizer steps each run of the pack has done, by run key; called after each step."""

    def ended(self, end: RunEnd) -> None:
        """Report that this trainer has ended a run; the end is durable already."""


class Unsupervised:
    """The control of a trainer that nobody supervises: for tests and single calls."""

    stopping = False

    def progress(self, steps: Mapping[str, int]) -> None:
        """Do nothing: nobody listens."""

    def ended(self, end: RunEnd) -> None:
        """Do nothing: nobody listens."""
