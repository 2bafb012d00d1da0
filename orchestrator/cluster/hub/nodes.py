"""What the hub does to nodes, processes and placement groups through Ray; each call is safe to repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any


def draining_nodes() -> set[str]:
    """Return the ids of nodes that Ray is about to lose (a preemption notice, ``ray drain-node``, a scale-down).

    Ray has no public call for it outside of Ray Train. Ray Train's own watcher asks the same private function; if a
    later Ray has no such function, no node counts as draining, and a lost node is noticed when it is gone.
    """
    import ray

    state = getattr(getattr(ray._private, "state", None), "state", None)
    ask = getattr(state, "get_draining_nodes", None)
    return set(ask() or ()) if ask is not None else set()


def room_now() -> str:
    """Return in words what the cluster has now, and how much of it is free."""
    import ray

    from orchestrator.cluster.placement import cluster_words

    return cluster_words(ray.nodes(), ray.available_resources())


def end_actors(actors: Iterable[Any]) -> None:
    """Kill these actors; one that has ended already is left alone."""
    import ray

    for actor in actors:
        with suppress(Exception):  # of any kind: the actor may be gone, or its node
            ray.kill(actor)


def end_process(node: str, pid: int) -> None:
    """Send SIGKILL to a process that does not react to Ray's own request."""
    _on_node(node, _kill, pid)


def stack_of(node: str, pid: int) -> str:
    """Return the Python stacks of a process that cannot tell them itself, as py-spy reads them; "" if it cannot.

    py-spy comes with Ray's dashboard. It may read a process of the same user, unless the kernel forbids it.
    """
    return str(_on_node(node, _spy, pid) or "")


def _on_node(node: str, function: Callable[[int], Any], pid: int) -> Any:
    """Return ``function(pid)``, called by a task on the node; None if that fails or takes more than 15 s."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node, soft=False)
    options = {"num_cpus": 0, "scheduling_strategy": there, "max_retries": 0}
    with suppress(Exception):  # of any kind: the node may be gone
        return ray.get(ray.remote(function).options(**options).remote(pid), timeout=15)
    return None


def _spy(pid: int) -> str:
    import shutil
    import subprocess
    import sys
    from pathlib import Path

    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if spy is None:
        return ""
    words = [spy, "dump", "--nonblocking", "--pid", str(pid)]  # without stopping the process, which may be stopped
    return subprocess.run(words, capture_output=True, text=True, timeout=10, check=False).stdout


def _kill(pid: int) -> None:
    import os
    import signal

    import psutil

    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.name().startswith("ray::"):  # not a process that has got the number since
            os.kill(pid, signal.SIGKILL)


def remove_groups(groups: Iterable[Any]) -> None:
    """Remove the placement groups of trainers that have ended, so that nothing stays reserved for them."""
    from ray.util.placement_group import remove_placement_group

    for group in groups:
        with suppress(Exception):  # of any kind: it is removed already, or Ray is gone
            remove_placement_group(group)
