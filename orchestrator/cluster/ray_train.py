"""One pack on Ray Train: a TorchTrainer whose workers are the ranks of one engine."""

from __future__ import annotations

from typing import Any

from orchestrator.pack import PackJob, train_pack
from orchestrator.spec import ClusterSpec


def fit_pack(job: PackJob, cluster: ClusterSpec, name: str, storage: str) -> None:
    """Train ``job`` with ``cluster.workers`` workers; raises what a worker raised.

    ``name`` must be new: Train would resume a finished run of the same name and train nothing.
    """
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer

    gpus = cluster.gpus_per_worker
    TorchTrainer(
        _worker,
        train_loop_config={"job": job},
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=cluster.workers,
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": cluster.cpus_per_worker} | ({"GPU": gpus} if gpus else {}),
        ),
        run_config=ray.train.RunConfig(
            name=name, storage_path=storage, failure_config=ray.train.FailureConfig(max_failures=0)
        ),
    ).fit()


def _worker(config: dict[str, Any]) -> None:
    """Run on every worker: the process group is up, the device is chosen."""
    from ray.train.torch import get_device

    train_pack(config["job"], get_device())
