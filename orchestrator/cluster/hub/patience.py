"""Pure: how often a pack is put back after its trainer was lost, or was told to stop."""

from __future__ import annotations

from dataclasses import dataclass

LOSSES = 3  # a pack fails after so many losses in a row between which none of its runs made a new step
STOPS = 10  # as LOSSES, for trainers that were told to stop


@dataclass
class Patience:
    """How often a pack was put back since its runs last made a new step; ``steps`` is the most that they had made."""

    steps: int = 0
    losses: int = 0
    stops: int = 0

    def may_come_back(self, stopped: bool, steps: int) -> bool:
        """Count one more return of the pack, whose runs have made so many steps; return whether it is put back."""
        if steps > self.steps:
            self.steps, self.losses, self.stops = steps, 0, 0
        self.losses += not stopped
        self.stops += stopped
        return self.losses < LOSSES and self.stops < STOPS

    def words(self, stopped: bool) -> str:
        """Return why the pack is put back no more."""
        sort, times = ("stopped", self.stops) if stopped else ("lost", self.losses)
        return f"({sort} {times} times without a new step in between)"
