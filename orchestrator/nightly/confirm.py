"""Confirm a candidate: the canary again with seeds that no baseline has and none will have."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.nightly.canary import confirm_of
from orchestrator.nightly.measure import Row, runs_of
from orchestrator.nightly.tonight import Tonight
from orchestrator.nightly.training import train_apart
from orchestrator.verdict.night import CanaryRun
from orchestrator.verdict.verdict import Candidate
from orchestrator.wording import count, listed


@dataclass(frozen=True)
class Confirmation:
    """The runs that confirm or refute a candidate, with their rows."""

    runs: list[CanaryRun]
    rows: list[Row]

    @property
    def unfinished(self) -> bool:
        """Whether a run has no result: then nothing is confirmed, and nothing refuted."""
        return any(not run.right for run in self.runs)


def confirm(tonight: Tonight, candidate: Candidate) -> Confirmation:
    """Train the seeds that confirm a candidate of this night, on its suspected cells."""
    spec = confirm_of(tonight.spec, tonight.folder, candidate.cells)
    cells = listed([f"{method} on {task}" for task, method in candidate.cells])
    seeds = count(tonight.spec.nightly.confirm_seeds, "fresh seed")
    tonight.say(f"suspected to be {candidate.direction}: {cells}; nobody is told before {seeds} have confirmed it")
    rows = train_apart(tonight, spec)
    return Confirmation(runs_of(rows, tonight.folder.confirm, fresh=True), rows)
