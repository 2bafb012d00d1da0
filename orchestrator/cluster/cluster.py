"""What a sweep asks of a place to train: run these packs, and say which failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from orchestrator.plan.packs import Pack


class Job(Protocol):
    """What a trainer is given; a cluster reads no more of it than its pack."""

    @property
    def pack(self) -> Pack:
        """The runs that train together."""


Train = Callable[[Any, torch.device], None]
"""What a trainer does with a job on its device."""

Failures = dict[str, str]
"""Pack name -> what went wrong; packs that ended well are not in it."""


class Cluster(Protocol):
    """Runs packs somewhere."""

    @property
    def concurrent(self) -> int:
        """How many packs run at the same time."""

    def run_packs(self, jobs: Sequence[Job], train: Train) -> Failures:
        """Run every pack to its end; one that fails never stops the others."""

    def call(self, function: Callable[[Path], Any], argument: Path) -> Any:
        """Run one function where the models and the accelerators are, and return its result."""

    def close(self) -> None:
        """End what this driver has started, and nothing else."""
