"""Open the cluster that a recipe names, and say where it trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from orchestrator.cluster.cluster import Cluster
from orchestrator.cluster.local import LocalCluster
from orchestrator.machine.deterministic import environment
from orchestrator.machine.device import told_device
from orchestrator.recipe.spec import SweepSpec


def open_cluster(spec: SweepSpec, storage: Path, say: Callable[[str], None]) -> Cluster:
    """Return this process, or the Ray cluster that is joined or started; InputError where it lacks what is asked for.

    ``storage`` is where Ray keeps what it needs for as long as it runs.
    """
    gpus = spec.cluster.gpus_per_worker
    if spec.cluster.kind == "local":
        cluster = LocalCluster(gpus)
        say(told_device(gpus, spec.dtype, torch.cuda.is_available()))
        return cluster
    from orchestrator.cluster.ray_tune import RayCluster

    say("starting or joining Ray")
    joined = RayCluster(spec.cluster, storage, environment(spec.engine.deterministic))
    if joined.remark:
        say(joined.remark)
    return joined
