"""What Ray Train does in each worker before the ranks connect, and here also: let the rank's heart beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray
from ray.train.torch import TorchConfig

from orchestrator.cluster.trainers.heart import begin_heart

HELLO_SECONDS = 120.0

Backend: Any = TorchConfig().backend_cls


class SupervisedBackend(Backend):  # type: ignore[misc]
    """Ray Train's backend of torch. It calls functions in a worker's main thread, which may set signal handlers."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Begin the hearts of all ranks, then make the process group."""
        words = backend_config.hub, backend_config.trainer
        begun = [
            worker_group.execute_single_async(rank, begin_heart, *words, rank) for rank in range(len(worker_group))
        ]
        ray.get(begun, timeout=HELLO_SECONDS)
        super().on_start(worker_group, backend_config)


@dataclass
class Supervised(TorchConfig):  # type: ignore[misc]
    """The settings of `SupervisedBackend`: the names of hub and trainer beside those of torch."""

    hub: str = ""
    trainer: str = ""

    @property
    def backend_cls(self) -> Any:
        """The class that Ray Train makes its backend of."""
        return SupervisedBackend
