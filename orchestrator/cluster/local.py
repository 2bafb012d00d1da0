"""Packs in this process, one after another: no cluster, for tests, debugging and a laptop."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from orchestrator.cluster.cluster import Failures, Job, Train
from orchestrator.machine.device import device_of


class LocalCluster:
    """This process is the cluster; its GPU is used if the recipe gives a worker one, as anywhere."""

    concurrent = 1

    def __init__(self, gpus_per_worker: int = 0) -> None:
        """InputError where a GPU is asked for that is not there."""
        self.device = device_of(gpus_per_worker)

    def run_packs(self, jobs: Sequence[Job], train: Train) -> Failures:
        """Train pack after pack."""
        failures: Failures = {}
        for job in jobs:
            try:
                train(job, self.device)
            except Exception:  # whatever it is, the other packs go on and the sweep reports it
                failures[job.pack.name] = traceback.format_exc()
        return failures

    def call(self, function: Callable[[Path], Any], argument: Path) -> Any:
        """Call it."""
        return function(argument)

    def close(self) -> None:
        """Do nothing."""
