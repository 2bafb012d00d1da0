"""Pure: on which nodes a trainer's workers go, and how many trainers fit, from the resources of each node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from orchestrator.errors import InputError
from orchestrator.recipe.sections import ClusterSpec

Strategy = Literal["PACK", "STRICT_PACK"]
Resources = Mapping[str, float]


def resources_of(nodes: Sequence[Mapping[str, Any]]) -> list[Resources]:
    """Return the resources of the nodes that are alive; ``nodes`` is the answer of ``ray.nodes()``."""
    return [node.get("Resources", {}) for node in nodes if node.get("Alive")]


def strategy(nodes: Sequence[Resources], spec: ClusterSpec) -> Strategy:
    """Return STRICT_PACK if a trainer has several workers and at least one node has room for all of them, else PACK.

    Workers exchange gradients in every step, which is slow between nodes. PACK may spread workers over several nodes
    even while a single node has room for all of them.
    """
    return "STRICT_PACK" if spec.workers > 1 and any(_fits(node, spec) for node in nodes) else "PACK"


def concurrent_trainers(nodes: Sequence[Resources], spec: ClusterSpec) -> int:
    """Return how many trainers run at the same time; InputError if not a single trainer fits."""
    total = {kind: sum(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU")}
    one_node_each = strategy(nodes, spec) == "STRICT_PACK"
    fits = sum(_fits(node, spec) for node in nodes) if one_node_each else _fits(total, spec)
    if not fits:
        raise InputError(
            f"cluster: {spec.workers} workers of {spec.cpus_per_worker} CPUs and {spec.gpus_per_worker} GPUs do "
            f"not fit into {int(total['CPU'])} CPUs and {int(total['GPU'])} GPUs."
        )
    return fits if spec.max_concurrent == "auto" else min(fits, int(spec.max_concurrent))


def placement_remark(nodes: Sequence[Resources], spec: ClusterSpec) -> str | None:
    """Return a remark if the workers of a trainer may lie on several nodes; None if they share a node."""
    if spec.workers == 1 or strategy(nodes, spec) == "STRICT_PACK":
        return None
    each = f"{spec.cpus_per_worker} CPUs and {spec.gpus_per_worker} GPUs"
    return (
        f"no node has room for {spec.workers} workers of {each}: a trainer's workers lie on several nodes and exchange "
        "gradients over the network; fewer cluster.workers, or larger nodes, avoid this"
    )


def _fits(node: Resources, spec: ClusterSpec) -> int:
    """Return how many trainers, with all of their workers, these resources have room for."""
    fits = int(node.get("CPU", 0)) // (spec.workers * spec.cpus_per_worker)
    if spec.gpus_per_worker:
        fits = min(fits, int(node.get("GPU", 0)) // (spec.workers * spec.gpus_per_worker))
    return fits
