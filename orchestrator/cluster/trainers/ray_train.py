"""A trainer of several workers, on Ray Train: a TorchTrainer whose workers are the ranks of an engine."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.cluster.hub.assignments import End
from orchestrator.cluster.placement import Strategy
from orchestrator.cluster.trainers.ends import end_of
from orchestrator.cluster.trainers.turns import train_packs

if TYPE_CHECKING:
    from orchestrator.recipe.sections import ClusterSpec

_IMPORTING = threading.Lock()  # trainers start in threads, and torch must not be imported in two threads at once


@dataclass(frozen=True)
class Trainers:
    """Runs the trainers of a hub, each with Ray Train.

    ``hub`` is the name of the hub. ``train`` is a pickled function; each worker unpickles it once and calls it with job
    after job, so ``train`` can keep the base between packs. ``storage`` is the folder for the files of Ray Train.
    """

    hub: str
    train: bytes
    cluster: ClusterSpec
    storage: str
    placement: Strategy = "PACK"

    def fit(self, name: str) -> End:
        """Run the trainer ``name`` until the hub has no pack left for it, or one of its workers fails.

        Ray Train restarts no workers here, so a name stands for one set of processes, and the hub can count the ranks
        that ask. The wait for its end has no limit: the hub's watch ends a trainer that hangs.
        """
        with _IMPORTING:
            import ray.train
            from ray.train.torch import TorchTrainer

            from orchestrator.cluster.trainers.torch_backend import Supervised

        gpus = self.cluster.gpus_per_worker
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"hub": self.hub, "trainer": name, "train": self.train},
            torch_config=Supervised(backend="nccl" if gpus else "gloo", hub=self.hub, trainer=name),
            scaling_config=ray.train.ScalingConfig(
                num_workers=self.cluster.workers,
                use_gpu=gpus > 0,
                placement_strategy=self.placement,
                resources_per_worker={"CPU": self.cluster.cpus_per_worker} | ({"GPU": gpus} if gpus else {}),
            ),
            run_config=ray.train.RunConfig(
                name=f"{self.hub}-{name}",
                storage_path=self.storage,
                failure_config=ray.train.FailureConfig(
                    max_failures=0, controller_failure_limit=0, max_preemption_failures=0
                ),
            ),
        )
        try:
            trainer.fit()
        except Exception as error:  # of any kind: the hub decides what becomes of the packs
            return end_of(error, dict(getattr(error, "worker_failures", {})))
        return End()


def _worker(config: dict[str, Any]) -> None:
    """Train the packs that the hub gives this rank.

    Ray Train calls this function on every worker, with the process group and the device set.
    """
    import ray
    import ray.train
    from ray.train.torch import get_device

    rank = ray.train.get_context().get_world_rank()
    train_packs(ray.get_actor(config["hub"]), config["trainer"], rank, config["train"], get_device())
