"""Run a function once on each other node of a Ray cluster, for example to try the storage there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.cluster.hub.breaker import last_line
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

    A node that goes away meanwhile is left out: no trainer can run there either. InputError as the function raises it,
    if a node has not answered within NODE_SECONDS, or if Ray cannot run the function on a node that is there.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(max_calls=1, num_cpus=0, max_retries=0)(_call)
    answers = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
            function, argument
        ): node
        for node in nodes
    }
    ready, late = ray.wait(list(answers), num_returns=len(answers), timeout=NODE_SECONDS) if answers else ([], [])
    if late and (missing := {answers[answer] for answer in late} & other_nodes(ray.nodes()).keys()):
        raise InputError(
            f"The nodes {', '.join(sorted(nodes[node] for node in missing))} have not answered within "
            f"{NODE_SECONDS:.0f} s. Look at them with `ray status`, or remove them from the cluster."
        )
    results = (_result(answer, answers[answer], nodes) for answer in ready)
    return [result for got in results for result in got]


def _result(answer: Any, node: str, nodes: Mapping[str, str]) -> list[Any]:
    """Return the result from one node as a list; an empty list if the node has gone away."""
    import ray

    try:
        return [ray.get(answer)]
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        if node not in other_nodes(ray.nodes()):
            return []
        raise InputError(
            f"Ray could not run a first function on the node {nodes[node]} ({type(error).__name__}: "
            f"{last_line(str(error))}). Look at the node with `ray status`, or remove it from the cluster; then the "
            "same command begins again."
        ) from error


def _call(function: Callable[[Path], Any], argument: Path) -> Any:
    return function(argument)
