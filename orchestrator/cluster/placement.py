"""Pure: on which nodes a trainer's workers go, and how many trainers fit, from the resources of each node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from orchestrator.errors import InputError
from orchestrator.recipe.cluster_section import ClusterSpec

Strategy = Literal["PACK", "STRICT_PACK"]
Resources = Mapping[str, float]
EXACT = 1e-4  # Ray counts resources in ten-thousandths


def resources_of(nodes: Sequence[Mapping[str, Any]]) -> list[Resources]:
    """Return the resources of the nodes that are alive; ``nodes`` is the answer of ``ray.nodes()``."""
    return [node.get("Resources", {}) for node in nodes if node.get("Alive")]


def bundle_of(spec: ClusterSpec) -> dict[str, float]:
    """Return what one worker reserves on its node, by Ray's name of the resource."""
    gpus = {"GPU": float(spec.gpus_per_worker)} if spec.gpus_per_worker else {}
    return {"CPU": float(spec.cpus_per_worker), **gpus, **spec.resources_per_worker}


def words_of(spec: ClusterSpec) -> str:
    """Return in words what a trainer reserves."""
    others = [f"{amount:g} {name}" for name, amount in spec.resources_per_worker.items()]
    amounts = [f"{spec.cpus_per_worker} CPUs", *others, f"{spec.gpus_per_worker:g} GPUs"]
    return f"{spec.workers} workers of {', '.join(amounts[:-1])} and {amounts[-1]}"


def strategy(nodes: Sequence[Resources], spec: ClusterSpec) -> Strategy:
    """Return STRICT_PACK if a trainer has several workers and at least one node has room for all of them, else PACK.

    Workers exchange gradients in every step, which is slow between nodes. PACK may spread workers over several nodes
    even while a single node has room for all of them.
    """
    together = spec.workers > 1 and any(_workers(node, spec) >= spec.workers for node in nodes)
    return "STRICT_PACK" if together else "PACK"


def fitting_trainers(nodes: Sequence[Resources], spec: ClusterSpec) -> int:
    """Return how many trainers fit into these nodes at the same time, counted node by node."""
    if strategy(nodes, spec) == "STRICT_PACK":
        return sum(_workers(node, spec) // spec.workers for node in nodes)
    return sum(_workers(node, spec) for node in nodes) // spec.workers


def concurrent_trainers(nodes: Sequence[Resources], spec: ClusterSpec) -> int:
    """Return how many trainers run at the same time; InputError if not a single trainer fits."""
    fits = fitting_trainers(nodes, spec)
    if not fits:
        raise InputError(f"cluster: {words_of(spec)} do not fit into {room_of(nodes)}.")
    return fits if spec.max_concurrent == "auto" else min(fits, int(spec.max_concurrent))


def room_of(nodes: Sequence[Resources]) -> str:
    """Return in words how many CPUs and GPUs the nodes have together."""
    total = {kind: sum(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU")}
    return f"{total['CPU']:g} CPUs and {total['GPU']:g} GPUs"


def cluster_words(nodes: Sequence[Mapping[str, Any]], free: Resources) -> str:
    """Return in words what the nodes have together and what is ``free``; ``nodes`` is the answer of ``ray.nodes()``."""
    alive = [node for node in resources_of(nodes) if node.get("CPU")]
    if not alive:
        return "no node with CPUs"
    nodes_words = f"{len(alive)} node{'s' * (len(alive) > 1)} with {room_of(alive)}"
    return f"{nodes_words}, of which {room_of([free])} are free"


def placement_remark(nodes: Sequence[Resources], spec: ClusterSpec) -> str | None:
    """Return a remark if the workers of a trainer may lie on several nodes; None if they share a node."""
    if spec.workers == 1 or strategy(nodes, spec) == "STRICT_PACK":
        return None
    return (
        f"no node has room for {words_of(spec)}: a trainer's workers lie on several nodes and exchange "
        "gradients over the network; fewer cluster.workers, or larger nodes, avoid this"
    )


def _workers(node: Resources, spec: ClusterSpec) -> int:
    """Return how many workers these resources have room for."""
    return min(int(node.get(kind, 0) / amount + EXACT) for kind, amount in bundle_of(spec).items())
