"""Check a running cluster from its driver: every node's facts and clock, the storage from there, and the exchange."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from orchestrator.cluster.placement import fitting_trainers, room_of, words_of
from orchestrator.doctor.check import Check, guarded, ok, warn
from orchestrator.doctor.facts import Facts, Gather
from orchestrator.doctor.machines import clocks, gpus, names, room, versions
from orchestrator.doctor.quick import try_from_nodes
from orchestrator.recipe.cluster_section import ClusterSpec
from orchestrator.wording import count

AUTH = "RAY_AUTH_MODE"
MEGABYTES = {False: 16, True: 256}
SLOW = {False: 0.1, True: 1.0}  # GB/s below which gradients of lanes cost more than their computation
INSTALLED = "Submit with `ray job submit --working-dir .`, or install this checkout at its pins on every node"
NODES = "Look at the nodes with `ray status`; `ray start --address HEAD:6379` adds one"


class Nodes(Protocol):
    """What is asked of a cluster; `orchestrator.cluster.survey.Survey` asks Ray."""

    @property
    def nodes(self) -> Mapping[str, str]:
        """Address by id of the other nodes that can train."""

    @property
    def trainers(self) -> Mapping[str, str]:
        """Address by id of all nodes that can train."""

    @property
    def here(self) -> str:
        """The address of this node."""

    @property
    def gpus(self) -> Mapping[str, float]:
        """By address, how many GPUs Ray counts."""

    def on_other_nodes(self, function: Callable[[Path], Any], argument: Path) -> list[Any]:
        """Return the results of the function from each other node."""

    def facts(self, gather: Callable[[Path], Any]) -> list[Any]:
        """Return the facts of each node, those of this one first."""

    def state_answers(self) -> str | None:
        """Return why the State API does not answer, or None."""

    def clocks(self) -> dict[str, tuple[float, float]]:
        """Return by address how far a clock is ahead, and half of the round trip, in seconds."""

    def exchange(self, megabytes: int, gpus: bool) -> dict[str, float] | None:
        """Sum a tensor over the nodes; return seconds, bytes and nodes, None if a node has no room for it."""


def cluster(nodes: Nodes, storage: Path | None, wanted_gpus: float) -> Iterator[Check]:
    """Yield every check of a cluster; ``storage`` is the recipe's, ``wanted_gpus`` what each worker gets."""
    yield from access(os.environ, nodes)
    facts: list[Facts] = []
    gather = Gather((str(storage),) if storage else ())

    def gathered() -> Iterator[Check]:
        facts.extend(nodes.facts(gather))
        yield from versions(facts)

    yield from guarded("versions", gathered, INSTALLED)
    if facts:
        yield from machine_checks(facts, nodes.gpus, wanted_gpus, none_trains=not nodes.trainers)
    if storage is not None:
        yield from guarded("storage", lambda: from_nodes(nodes, storage), "Mount one storage on every node")
    yield from guarded("clocks", lambda: clocks(nodes.clocks()) if nodes.nodes else iter(()), NODES)
    yield from guarded("exchange", lambda: exchange(nodes, bool(wanted_gpus)), FIREWALL)


def machine_checks(
    facts: Sequence[Facts], offered: Mapping[str, float], wanted_gpus: float, *, none_trains: bool = False
) -> Iterator[Check]:
    """Yield the checks of the facts of machines; ``none_trains`` as in `gpus`."""
    yield from room({machine.place: machine.room for machine in facts})
    yield from names(facts)
    yield from gpus(facts, wanted_gpus, offered, none_trains=none_trains)


def trainers(nodes: Sequence[Mapping[str, float]], spec: ClusterSpec) -> Iterator[Check]:
    """Yield how many trainers of the recipe fit into the nodes that are up; ``nodes`` are their resources in Ray."""
    fits, words = fitting_trainers(nodes, spec), words_of(spec)
    if fits:
        yield ok("trainers", f"room for {count(fits, 'trainer')} of {words}")
        return
    said = f"the nodes that are up have no room for a trainer of {words}; they have {room_of(nodes)}"
    remedy = (
        "An autoscaler brings nodes when a sweep asks for them; without one add a node, or give fewer "
        "cluster.workers, cluster.cpus_per_worker or cluster.gpus_per_worker"
    )
    yield warn("trainers", said, remedy)


def access(environment: Mapping[str, str], nodes: Nodes) -> Iterator[Check]:
    """Yield whether the cluster asks for a token, and whether its State API answers."""
    if environment.get(AUTH, "").lower() == "token":
        yield ok("auth", f"{AUTH}=token")
    else:
        said = f"{AUTH} is {environment.get(AUTH) or 'not set'}: whoever reaches the head's port 6379 runs code as you"
        remedy = f"Export {AUTH}=token here and before `ray start` on every node, with one ~/.ray/auth_token"
        yield warn("auth", said, remedy)
    why = nodes.state_answers()
    if why is None:
        yield ok("state", f"the State API answers; {count(len(nodes.nodes) + 1, 'node')}")
    else:
        remedy = "Start the head with its dashboard: pip install 'ray[default]', and no --include-dashboard=false"
        yield warn("state", f"the State API does not answer ({why}), so `ray list` shows nothing", remedy)


def from_nodes(nodes: Nodes, storage: Path) -> Iterator[Check]:
    """Yield whether every node sees the storage of the driver, its locks, links and renames."""
    tried = try_from_nodes(nodes.on_other_nodes, storage)
    yield ok("storage", f"{storage} is one storage for the driver and {count(tried, 'other node')}")


FIREWALL = (
    "Let the nodes reach each other on all ports (security group, firewall); GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME "
    "name the interface"
)


def exchange(nodes: Nodes, with_gpus: bool) -> Iterator[Check]:
    """Yield how fast nodes sum a tensor; nothing is summed where fewer than two can."""
    able = [address for address in nodes.trainers.values() if not with_gpus or nodes.gpus.get(address)]
    kind = "NCCL" if with_gpus else "gloo"
    if len(able) < 2:
        yield ok("exchange", f"skipped: {count(len(able), 'node')} can take part, and two are needed")
        return
    seen = nodes.exchange(MEGABYTES[with_gpus], with_gpus)
    if seen is None:
        said = f"not measured: not all of {count(len(able), 'node')} had room within a minute"
        yield warn("exchange", said, "Ask again when no sweep holds the GPUs (`ray status` shows who does)")
        return
    speed = seen["bytes"] / seen["seconds"] / 1e9 if seen["seconds"] else float("inf")
    said = f"{kind} sums {MEGABYTES[with_gpus]} MiB over {seen['nodes']:.0f} nodes in {1000 * seen['seconds']:.0f} ms"
    said += f", {speed:.2f} GB/s per node"
    if speed < SLOW[with_gpus]:
        remedy = "Keep a trainer on one node (cluster.workers at most its GPUs), or use a faster network"
        yield warn("exchange", said, remedy)
    else:
        yield ok("exchange", said)
