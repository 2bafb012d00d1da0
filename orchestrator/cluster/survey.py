"""Look at every node of a running Ray cluster: facts, clocks, and how fast nodes exchange gradients."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from orchestrator.cluster.each_node import NODE_SECONDS, on_each, other_nodes
from orchestrator.cluster.placement import Resources, resources_of
from orchestrator.cluster.session.address import named_address
from orchestrator.cluster.session.ray_session import open_session
from orchestrator.errors import InputError

PINGS = 5
STATE_SECONDS = 10
EXCHANGE_SECONDS, ROOM_SECONDS = 90.0, 60.0


class Survey:
    """A connection to the cluster that RAY_ADDRESS names, which the ``with`` block ends.

    ``nodes`` has address by id of the nodes with processors, but for the node of this process; ``trainers`` has that
    node too, if it has processors.
    """

    def __init__(self) -> None:
        """Join the cluster; InputError if RAY_ADDRESS names none, or none that can be joined."""
        if named_address() is None:
            raise InputError("RAY_ADDRESS names no cluster. Set it to HOST:PORT of the head, or to auto on the head.")
        self._session = open_session(threads=1)
        import ray

        self._listed: list[dict[str, Any]] = ray.nodes()
        self.nodes = other_nodes(self._listed)
        here = ray.get_runtime_context().get_node_id()
        own = {str(node["NodeID"]): self.here for node in self._listed if node["NodeID"] == here and _trains(node)}
        self.trainers = {**own, **self.nodes}

    @property
    def here(self) -> str:
        """The address of this node."""
        import ray

        return str(ray.util.get_node_ip_address())

    @property
    def gpus(self) -> dict[str, float]:
        """By address, how many GPUs Ray counts there."""
        alive = (node for node in self._listed if node.get("Alive"))
        return {str(node.get("NodeManagerAddress")): node.get("Resources", {}).get("GPU", 0.0) for node in alive}

    @property
    def resources(self) -> list[Resources]:
        """The resources of each node, as Ray counts them."""
        return resources_of(self._listed)

    def on_other_nodes(self, function: Callable[[Path], Any], argument: Path) -> list[Any]:
        """Return the results of ``function(argument)`` from each node; InputError as `on_each`."""
        return on_each(self.nodes, function, argument)

    def facts(self, gather: Callable[[Path], Any]) -> list[Any]:
        """Return what ``gather`` says of each node, with the node's ``address``; the first is this node."""
        others = self.on_other_nodes(_Addressed(gather), Path())
        return [_Addressed(gather)(Path()), *others]

    def state_answers(self) -> str | None:
        """Return why Ray's State API does not answer; None if it does."""
        from ray.util.state import list_nodes

        try:
            list_nodes(timeout=STATE_SECONDS)
        except Exception as error:  # of any kind: no dashboard, no token, an answer that is no answer
            return (str(error).splitlines() or [""])[0] or type(error).__name__
        return None

    def clocks(self) -> dict[str, tuple[float, float]]:
        """Return by address how many seconds each clock is ahead of this one, and half of the round trip.

        Of several round trips the shortest counts, because its middle is the best guess of when the node looked.
        """
        import ray

        actors = {address: _on(node, _Node).remote() for node, address in self.nodes.items()}
        ray.get([actor.now.remote() for actor in actors.values()], timeout=NODE_SECONDS)  # started
        trips = {address: [_ping(actor) for _ in range(PINGS)] for address, actor in actors.items()}
        return {address: min(those, key=lambda one: one[1]) for address, those in trips.items()}

    def exchange(self, megabytes: int, gpus: bool) -> dict[str, float] | None:
        """Sum one tensor over all nodes; return seconds per sum and the bytes that each node sends for it.

        None if a node has not had room for its rank within ROOM_SECONDS, as while a sweep holds all GPUs. InputError if
        fewer than two nodes can take part; errors as torch or Ray raise them.
        """
        import ray

        ids = [node for node, address in self.trainers.items() if not gpus or self.gpus.get(address)]
        if len(ids) < 2:
            raise InputError("fewer than two nodes can train. Add a node to measure what they exchange.")
        ranks = [_on(node, _Node, num_gpus=1 if gpus else 0).remote() for node in ids]
        started = [rank.now.remote() for rank in ranks]
        if ray.wait(started, num_returns=len(started), timeout=ROOM_SECONDS)[1]:
            return None
        door = ray.get(ranks[0].door.remote(), timeout=EXCHANGE_SECONDS)
        world = len(ranks)
        answers = [rank.all_reduce.remote(number, world, door, megabytes, gpus) for number, rank in enumerate(ranks)]
        seconds = ray.get(answers, timeout=EXCHANGE_SECONDS)
        return {"seconds": max(seconds), "bytes": 2 * (world - 1) / world * megabytes * 2**20, "nodes": float(world)}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._session.close()


class _Addressed:
    """Calls a function on a node, and writes the node's address into its result."""

    def __init__(self, gather: Callable[[Path], Any]) -> None:
        self._gather = gather

    def __call__(self, argument: Path) -> Any:
        import ray

        return replace(self._gather(argument), address=str(ray.util.get_node_ip_address()))


class _Node:
    """One process on a node."""

    def now(self) -> float:
        """Return the time of this node's clock."""
        return time.time()

    def door(self) -> str:
        """Return an address at which the ranks can meet."""
        import socket

        import ray

        with socket.socket() as probe:
            probe.bind(("", 0))
            return f"tcp://{ray.util.get_node_ip_address()}:{probe.getsockname()[1]}"

    def all_reduce(self, rank: int, world: int, door: str, megabytes: int, gpus: bool) -> float:
        """Return the seconds per sum of a tensor over all ranks; RuntimeError if a sum is wrong."""
        import ray

        from orchestrator.cluster.exchange import all_reduce_seconds

        return all_reduce_seconds(rank, world, door, megabytes, gpus, str(ray.util.get_node_ip_address()))


def _trains(node: dict[str, Any]) -> bool:
    return bool(node.get("Alive") and node.get("Resources", {}).get("CPU"))


def _on(node: str, cls: type, **options: Any) -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    where = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(cls).options(**({"num_cpus": 0} | options), scheduling_strategy=where)


def _ping(actor: Any) -> tuple[float, float]:
    import ray

    before = time.time()
    there = ray.get(actor.now.remote(), timeout=NODE_SECONDS)
    after = time.time()
    return there - (before + after) / 2, (after - before) / 2
