"""The interface of a cluster: run these packs, and say which of them failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from orchestrator.plan.packs import Pack


class Job(Protocol):
    """What a trainer needs for one pack. A cluster itself reads only the pack."""

    @property
    def pack(self) -> Pack:
        """The runs that train together."""


Train = Callable[[Any, torch.device], None]
"""What a worker calls with each job, and with the device of the worker. It must be picklable for Ray."""

Failures = dict[str, str]
"""Pack name -> error, of the packs that failed."""


class Cluster(Protocol):
    """Runs packs, and single functions, where the models and the accelerators are."""

    @property
    def concurrent(self) -> int:
        """How many packs run at the same time."""

    def run_packs(self, jobs: Sequence[Job], train: Train) -> Failures:
        """Run every pack to its end; a pack that fails does not stop the others.

        Each worker calls one copy of ``train`` with pack after pack, so ``train`` may keep what packs share.
        """

    def call(self, function: Callable[[Path], Any], argument: Path) -> Any:
        """Run ``function(argument)`` with the resources of one worker, and return its result."""

    def close(self) -> None:
        """End what this driver has started, and nothing that others have started."""
