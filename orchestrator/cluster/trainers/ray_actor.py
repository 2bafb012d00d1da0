"""A trainer of a single worker, as one Ray actor (ADR 28).

Ray Train surrounds its workers with a controller and four helpers, each a process that loads Ray. These processes
coordinate several workers; a single worker needs no coordination.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.cluster.hub.assignments import End
from orchestrator.cluster.hub.nodes import end_actors
from orchestrator.cluster.trainers.ends import end_of
from orchestrator.cluster.trainers.heart import begin_heart
from orchestrator.cluster.trainers.turns import train_packs

if TYPE_CHECKING:
    from orchestrator.recipe.sections import ClusterSpec

START_SECONDS = float(os.environ.get("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "120"))
"""Seconds for room on a node and the start of the process; a trainer that takes longer counts as unplaced."""


@dataclass(frozen=True)
class SingleTrainers:
    """Runs the trainers of a hub, each as one actor.

    ``hub`` is the name of the hub, ``train`` the pickled function that a trainer calls with each job.
    """

    hub: str
    train: bytes
    cluster: ClusterSpec

    def fit(self, name: str) -> End:
        """Run the trainer ``name`` until the hub has no pack left for it or its process fails; restart no process.

        The wait for its end has no limit: the hub's watch ends a trainer that hangs, and then Ray raises here.
        """
        import ray

        options = {"num_cpus": self.cluster.cpus_per_worker, "num_gpus": self.cluster.gpus_per_worker}
        actor = ray.remote(Trainer).options(max_restarts=0, max_task_retries=0, **options).remote()
        try:
            placed, _ = ray.wait([actor.begin.remote()], timeout=START_SECONDS)
            if not placed:
                return End(f"no node had room for {options} in {START_SECONDS:.0f} s", sort="unplaced")
            ray.get(actor.run.remote(self.hub, name, self.train, self.cluster.gpus_per_worker))
        except Exception as error:  # of any type: the hub decides which packs fail
            return end_of(error, {0: error})
        finally:
            end_actors([actor])
        return End()


class Trainer:
    """The actor of a trainer of one worker: one process, which is rank 0."""

    def begin(self) -> None:
        """Return at once; the answer shows that the process has started."""

    def run(self, hub: str, name: str, train: bytes, gpus: int) -> None:
        """Train the packs that the hub gives to the trainer ``name``."""
        import ray

        begin_heart(hub, name, 0)
        from orchestrator.machine.device import device_of

        train_packs(ray.get_actor(hub), name, 0, train, device_of(gpus))
