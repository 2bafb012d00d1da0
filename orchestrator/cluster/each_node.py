"""Run a function once on each other node of a Ray cluster, for example to try the storage there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.errors import InputError

NODE_SECONDS = 120.0  # for the first process on a node to start, which may install a runtime environment


def other_nodes(nodes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return address by id of the nodes that are alive and have processors, without the node of this process.

    ``nodes`` is the answer of ``ray.nodes()``.
    """
    import ray

    here = ray.get_runtime_context().get_node_id()
    return {
        node["NodeID"]: str(node.get("NodeManagerAddress", node["NodeID"]))
        for node in nodes
        if node.get("Alive") and node.get("Resources", {}).get("CPU") and node["NodeID"] != here
    }


def on_each(nodes: Mapping[str, str], function: Callable[[Path], Any], argument: Path) -> list[Any]:
    """Return the results of ``function(argument)`` from each node; the function takes no processor of the node.

    InputError as the function raises it, or if a node has not answered within NODE_SECONDS.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(max_calls=1, num_cpus=0, max_retries=0)(_call)
    answers = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
            function, argument
        ): address
        for node, address in nodes.items()
    }
    ready, late = ray.wait(list(answers), num_returns=len(answers), timeout=NODE_SECONDS) if answers else ([], [])
    if late:
        raise InputError(
            f"The nodes {', '.join(sorted(answers[answer] for answer in late))} have not answered within "
            f"{NODE_SECONDS:.0f} s. Look at them with `ray status`, or remove them from the cluster."
        )
    try:
        return list(ray.get(ready))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise error.cause from None
        raise


def _call(function: Callable[[Path], Any], argument: Path) -> Any:
    return function(argument)
