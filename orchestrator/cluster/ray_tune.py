"""Run packs on Ray: a hub gives them to trainers, and Tune shows each as a trial. Results are in run folders alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.cluster.cluster import Failures, Job, Train, sizes_of
from orchestrator.cluster.each_node import on_each, other_nodes
from orchestrator.cluster.first_node import wait_for_first_node
from orchestrator.cluster.news import News
from orchestrator.cluster.one_task import run_once
from orchestrator.cluster.placement import (
    Resources,
    bundle_of,
    concurrent_trainers,
    fitting_trainers,
    placement_remark,
    resources_of,
)
from orchestrator.cluster.session.ray_session import open_session
from orchestrator.cluster.sweep_hub import SweepHub
from orchestrator.recipe.cluster_section import ClusterSpec
from orchestrator.recipe.frozen import with_values


class RayCluster:
    """A Ray cluster that was joined or started, and the hub of the sweep that trains on it."""

    def __init__(
        self,
        spec: ClusterSpec,
        storage: Path,
        variables: Mapping[str, str] | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        """Join or start the cluster; every worker begins with ``variables`` in its environment.

        ``say`` gets a line when a pack fails or is put back, and while room is waited for. InputError if no Ray
        answers, if a single trainer would not even fit into the local Ray, or if no node with room comes to a joined
        cluster within ``spec.wait_seconds``.
        """
        self.spec, self.storage, self._say = spec, storage, say
        self.news = News()
        self._hub: SweepHub | None = None
        self._session = open_session(spec.cpus_per_worker, variables)
        if self._session.dashboard:
            say(f"Ray's dashboard: http://{self._session.dashboard}")
        try:
            if self._session.started_here:
                concurrent_trainers(self._nodes, spec)
            elif not fitting_trainers(self._nodes, spec):
                wait_for_first_node(spec, say)
        except BaseException:
            self._session.close()
            raise

    @property
    def concurrent(self) -> int:
        """How many trainers run at the same time, as the cluster is now; nodes that come later may let more run.

        On a cluster that was joined, a number in the recipe counts as it is: nodes come when they are asked for.
        """
        if self._session.started_here:
            return concurrent_trainers(self._nodes, self.spec)
        most = self.spec.max_concurrent
        return max(1, fitting_trainers(self._nodes, self.spec)) if most == "auto" else most

    @property
    def _nodes(self) -> list[Resources]:
        return resources_of(_nodes())

    @property
    def remark(self) -> str | None:
        """A line for the user if the workers of a trainer lie on several nodes, else None."""
        return placement_remark(self._nodes, self.spec)

    def run_packs(self, jobs: Sequence[Job], train: Train) -> Failures:
        """Train the packs on trainers that stay up from the first pack of a sweep to the last (ADR 5, ADR 31, ADR 36).

        The trainers keep the first ``train`` for all later calls with an equal one; another one gets a new hub.
        KeyboardInterrupt and InputError as `SweepHub.run_packs` raises them.
        """
        from ray import cloudpickle

        if not jobs:
            return {}
        self.news.begin(sizes_of(jobs))
        pickled = cloudpickle.dumps(train)
        if self._hub is None or not self._hub.alive or self._hub.train != pickled:
            self._end_hub()
            self._hub = SweepHub(self._limited(), pickled, self.storage, self.news, self._say)
        failures = self._hub.run_packs(jobs)
        if not failures:  # then the files of Tune are never read again
            shutil.rmtree(self.storage, ignore_errors=True)
        return failures

    def call(self, function: Callable[[Path], Any], argument: Path) -> Any:
        """Run ``function(argument)`` with the resources of one worker, and return its result (`run_once`).

        On a local cluster without GPUs the function runs in this process. A Ray task would have no more resources, and
        its new process would first load all libraries, which takes about 15 seconds.
        """
        here = self._session.started_here and not self.spec.gpus_per_worker
        if self._hub is not None and (here or not self._has_free_worker()):
            self._hub.release()
        if here:
            return _call_here(function, argument, self.spec.cpus_per_worker)
        options = {
            "num_cpus": self.spec.cpus_per_worker,
            "num_gpus": self.spec.gpus_per_worker,
            "resources": self.spec.resources_per_worker,
        }
        return run_once(function, argument, options, self._say)

    def on_other_nodes(self, function: Callable[[Path], Any], argument: Path) -> list[Any]:
        """Run the function once on each node with processors, but for this node; InputError after NODE_SECONDS."""
        return [] if self._session.started_here else on_each(other_nodes(_nodes()), function, argument)

    def close(self) -> None:
        """End the trainers and disconnect; end the cluster if it was started for this sweep."""
        self._end_hub()
        self._session.close()

    def _limited(self) -> ClusterSpec:
        """Return the recipe's section; on a local Ray, to which no node ever comes, with the number of its trainers."""
        if not self._session.started_here:
            return self.spec
        return with_values(self.spec, {"max_concurrent": self.concurrent})

    def _end_hub(self) -> None:
        if self._hub is not None:
            self._hub.close()
            self._hub = None

    def _has_free_worker(self) -> bool:
        """Return whether one worker has room beside all that is there."""
        import ray

        free: dict[str, float] = ray.available_resources()
        return all(free.get(kind, 0) >= amount for kind, amount in bundle_of(self.spec).items())


def _nodes() -> list[dict[str, Any]]:
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()
    return nodes


def _call_here(function: Callable[[Path], Any], argument: Path, threads: int) -> Any:
    """Call the function in this process, with as many threads as a worker computes with."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return function(argument)
    finally:
        torch.set_num_threads(before)
