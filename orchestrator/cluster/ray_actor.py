"""A trainer of a single worker, as one Ray actor (ADR 28).

Ray Train surrounds its workers with a controller and four helpers, each a process that loads Ray. They hold several
workers together; a single worker does not need them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.cluster.assignments import End
from orchestrator.cluster.turns import train_packs

if TYPE_CHECKING:
    from orchestrator.recipe.sections import ClusterSpec

START_SECONDS = 60.0  # Ray Train's own patience with a worker that finds no room; the hub then counts it as unplaced


@dataclass(frozen=True)
class SingleTrainers:
    """What all trainers of a hub share; ``train`` is the pickled function that a trainer calls with each pack."""

    hub: str
    train: bytes
    cluster: ClusterSpec

    def fit(self, name: str) -> End:
        """Run a trainer until the hub has nothing left for it, or its process fails. It is never started again."""
        import ray

        options = {"num_cpus": self.cluster.cpus_per_worker, "num_gpus": self.cluster.gpus_per_worker}
        actor = ray.remote(Trainer).options(max_restarts=0, max_task_retries=0, **options).remote()
        try:
            placed, _ = ray.wait([actor.begin.remote()], timeout=START_SECONDS)
            if not placed:
                return End(f"no node had room for {options} in {START_SECONDS:.0f} s", unplaced=True)
            ray.get(actor.run.remote(self.hub, name, self.train, self.cluster.gpus_per_worker))
        except Exception as error:  # whatever it is, the hub decides what becomes of the packs
            return end_of(error)
        finally:
            ray.kill(actor)
        return End()


def end_of(error: Exception) -> End:
    """Return what the error of a trainer says; a node that went away is no fault of a pack."""
    text = str(error) or repr(error)
    return End(text, failures={0: text}, preempted=bool(getattr(error, "preempted", False)))


class Trainer:
    """The process of a trainer."""

    def begin(self) -> None:
        """Return as soon as the process is there."""

    def run(self, hub: str, name: str, train: bytes, gpus: int) -> None:
        """Train what the hub gives to the trainer of this name."""
        import ray

        from orchestrator.machine.device import device_of

        train_packs(ray.get_actor(hub), name, 0, train, device_of(gpus))
