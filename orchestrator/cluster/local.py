"""Packs in this process, one after another: no cluster, for tests, debugging and a laptop."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from orchestrator.cluster.cluster import Failures, Train
from orchestrator.pack import PackJob, forget_base, train_pack


class LocalCluster:
    """This process is the cluster."""

    concurrent = 1

    def run_packs(self, jobs: Sequence[PackJob], train: Train = train_pack) -> Failures:
        """Train pack after pack."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        failures: Failures = {}
        for job in jobs:
            try:
                train(job, device)
            except Exception:  # whatever it is, the other packs go on and the sweep reports it
                failures[job.pack.name] = traceback.format_exc()
        forget_base()
        return failures

    def call(self, function: Callable[[Path], Any], argument: Path) -> Any:
        """Call it."""
        return function(argument)

    def close(self) -> None:
        """Do nothing."""
