"""Open the cluster that a recipe names, and say where it trains."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

from orchestrator.cluster.cluster import Cluster
from orchestrator.cluster.local import LocalCluster
from orchestrator.cluster.session.environment import for_trainers
from orchestrator.machine.deterministic import environment
from orchestrator.machine.device import describe_device
from orchestrator.recipe.spec import SweepSpec


def open_cluster(spec: SweepSpec, storage: Path, say: Callable[[str], None]) -> Cluster:
    """Return the cluster of the recipe: this process (``kind: local``), or a Ray cluster that is joined or started.

    ``storage`` is the folder for the files of Ray Tune. InputError if the cluster lacks the resources
    that the recipe asks for.
    """
    gpus = spec.cluster.gpus_per_worker
    if spec.cluster.kind == "local":
        cluster = LocalCluster(gpus)
        say(describe_device(gpus, spec.dtype, torch.cuda.is_available()))
        if spec.cluster.env:
            say("cluster.env is for trainers on Ray: kind: local trains in this process, with the environment it has")
        return cluster
    from orchestrator.cluster.ray_tune import RayCluster

    say("starting or joining Ray")
    variables = for_trainers(os.environ, spec.cluster.env) | environment(spec.engine.deterministic)
    ray = RayCluster(spec.cluster, storage, variables, say)
    if ray.remark:
        say(ray.remark)
    return ray
