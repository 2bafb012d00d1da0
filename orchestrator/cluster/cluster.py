"""The interface of a cluster: run packs and return the errors of the failed packs; run a single function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.cluster.news import News
from orchestrator.control import Control
from orchestrator.plan.packs import Pack

if TYPE_CHECKING:
    import torch  # not at run time: the hub and Tune's trials would load it too


class Job(Protocol):
    """The order to train one pack. The cluster reads only ``pack``; the function ``train`` reads the rest."""

    @property
    def pack(self) -> Pack:
        """The runs that train together."""


def sizes_of(jobs: Sequence[Job]) -> dict[str, int]:
    """Return, by run key, how many runs the pack of the run has."""
    return {run.key: len(job.pack.runs) for job in jobs for run in job.pack.runs}


Train = Callable[[Any, "torch.device", Control], None]
"""The function that a worker calls with each job, the worker's device and its `Control`. Ray pickles the function."""

Failures = dict[str, str]
"""Pack name -> error, of the packs that failed."""


class Cluster(Protocol):
    """Runs packs and single functions with the resources of workers: on their accelerators and in their memory.

    ``news`` has the steps and the ends of runs while `run_packs` is at work.
    """

    news: News

    @property
    def concurrent(self) -> int:
        """How many packs run at the same time."""

    def run_packs(self, jobs: Sequence[Job], train: Train) -> Failures:
        """Run every pack to its end; a pack that fails does not stop the others.

        A pack whose trainer was lost or told to stop is trained again, within limits. KeyboardInterrupt is raised after
        the packs at work have saved their runs, or a grace is over.

        Each worker calls one copy of ``train`` with job after job, so ``train`` may keep the base between packs.
        """

    def call(self, function: Callable[[Path], Any], argument: Path) -> Any:
        """Run ``function(argument)`` with the resources of one worker, and return its result."""

    def on_other_nodes(self, function: Callable[[Path], Any], argument: Path) -> list[Any]:
        """Run ``function(argument)`` once on each node where trainers may run, this one left out; return the results.

        InputError if a node does not answer within a limit, or as ``function`` raises it.
        """

    def close(self) -> None:
        """End the processes that this driver has started; a cluster that it only joined goes on."""
