"""The work of one rank of a trainer: take pack after pack from the hub and train it, until no pack is left."""

from __future__ import annotations

import pickle  # for what the driver itself has pickled, and Ray has brought # nosec B403
import traceback
from typing import Any


def train_packs(hub: Any, trainer: str, rank: int, train: bytes, device: Any) -> None:
    """Train each pack that the hub gives this rank of ``trainer``.

    ``train`` is the pickled function that is called with each job and the device (a `torch.device`). It is unpickled
    once, because it may keep the base from one pack to the next. An error is reported to the hub and raised: the ranks
    may be out of step, so this trainer ends and the hub starts a new trainer.
    """
    import ray

    from orchestrator.control import Unsupervised
    from orchestrator.machine.memory import let_go

    train_job = pickle.loads(train)  # noqa: S301 - the driver's own, through Ray # nosec B301
    while (job := ray.get(hub.take.remote(trainer, rank))) is not None:
        try:
            train_job(pickle.loads(job), device, Unsupervised())  # noqa: S301 - as above # nosec B301
        except Exception:
            ray.get(hub.report.remote(trainer, rank, traceback.format_exc()))
            raise
        let_go(device)  # so that the next pack gets the memory of this pack
