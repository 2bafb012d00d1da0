"""Run packs in this process, one after another: for tests, debugging and a laptop."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from orchestrator.cluster.cluster import Failures, Job, Train
from orchestrator.control import Unsupervised
from orchestrator.machine.device import device_of


class LocalCluster:
    """This process as a cluster of one worker. It uses a GPU if the recipe gives each worker one."""

    concurrent = 1

    def __init__(self, gpus_per_worker: int = 0) -> None:
        """Raise InputError if the recipe asks for a GPU that is not there."""
        self.device = device_of(gpus_per_worker)

    def run_packs(self, jobs: Sequence[Job], train: Train) -> Failures:
        """Train pack after pack. The base that ``train`` keeps is freed with ``train``, after the last pack."""
        failures: Failures = {}
        for job in jobs:
            try:
                train(job, self.device, Unsupervised())
            except Exception:  # of any kind: the other packs go on, and the sweep reports the error
                failures[job.pack.name] = traceback.format_exc()
        return failures

    def call(self, function: Callable[[Path], Any], argument: Path) -> Any:
        """Call the function in this process."""
        return function(argument)

    def close(self) -> None:
        """Do nothing: nothing was started."""
