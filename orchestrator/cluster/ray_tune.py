"""Run packs on Ray: a hub gives them to trainers, and Tune shows each as a trial. Results are in run folders alone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.cluster.cluster import Failures, Job, Train, sizes_of
from orchestrator.cluster.dialogue import Dialogue
from orchestrator.cluster.each_node import on_each, other_nodes
from orchestrator.cluster.hub.hub import HEAD
from orchestrator.cluster.hub.watch import HubActor
from orchestrator.cluster.news import News
from orchestrator.cluster.one_task import run_once
from orchestrator.cluster.placement import concurrent_trainers, placement_remark, resources_of
from orchestrator.cluster.ray_session import open_session
from orchestrator.cluster.signals import GRACE_SECONDS, stopped_by_signals
from orchestrator.cluster.trainers.ranks import Trainers
from orchestrator.cluster.trials import Trials
from orchestrator.errors import InputError
from orchestrator.recipe.sections import ClusterSpec

TRIAL_SECONDS = 30.0  # for Tune to end its trials after all packs have ended


class RayCluster:
    """A Ray cluster that was joined or started. ``concurrent`` is the number of trainers that run at the same time."""

    def __init__(
        self,
        spec: ClusterSpec,
        storage: Path,
        variables: Mapping[str, str] | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        """Join or start the cluster; every worker begins with ``variables`` in its environment.

        ``say`` gets a line when a pack fails or is put back. InputError if no Ray answers, or if not a single trainer
        fits.
        """
        self.spec, self.storage, self._say = spec, storage, say
        self.news = News()
        self._session = open_session(spec.cpus_per_worker, variables)
        try:
            self._nodes = resources_of(_nodes())
            self.concurrent = concurrent_trainers(self._nodes, spec)
        except InputError:
            self._session.close()
            raise

    @property
    def remark(self) -> str | None:
        """A line for the user if the workers of a trainer lie on several nodes, else None."""
        return placement_remark(self._nodes, self.spec)

    def run_packs(self, jobs: Sequence[Job], train: Train) -> Failures:
        """Train the packs on trainers that stay up from the first pack to the last (ADR 5, ADR 31).

        KeyboardInterrupt (Ctrl-C, SIGTERM) lets the trainers save their runs first; a second one ends them at once.
        """
        if not jobs:
            return {}
        self.news.begin(sizes_of(jobs))
        name = f"hub-{time.time_ns():x}"  # a new name, because Tune would resume an earlier experiment
        slots = min(self.concurrent, len(jobs))
        hub = self._hub(name, jobs, train, slots)
        dialogue = Dialogue(hub, [job.pack.name for job in jobs], self.news, self._say)
        hub.run.remote(slots)
        trials = Trials(name, jobs, slots, self.storage, self._say)
        with stopped_by_signals(2 * GRACE_SECONDS) as signals:  # `Dialogue.stop` has its own limit
            try:
                failures = dialogue.follow(lambda: signals.came)
                if signals.came:
                    trials.leave()
                    dialogue.stop()
            except BaseException:  # a second signal
                trials.leave()
                dialogue.end()
                raise
        trials.join(TRIAL_SECONDS)
        if not failures:  # then the files of Tune are never read again
            shutil.rmtree(self.storage, ignore_errors=True)
        return failures

    def call(self, function: Callable[[Path], Any], argument: Path) -> Any:
        """Run ``function(argument)`` with the resources of one worker, and return its result (`run_once`).

        On a local cluster without GPUs the function runs in this process. A Ray task would have no more resources, and
        its new process would first load all libraries, which takes about 15 seconds.
        """
        if self._session.started_here and not self.spec.gpus_per_worker:
            return _call_here(function, argument, self.spec.cpus_per_worker)
        options = {"num_cpus": self.spec.cpus_per_worker, "num_gpus": self.spec.gpus_per_worker}
        return run_once(function, argument, options, self._say)

    def on_other_nodes(self, function: Callable[[Path], Any], argument: Path) -> list[Any]:
        """Run the function once on each node with processors, but for this node; InputError after NODE_SECONDS."""
        return [] if self._session.started_here else on_each(other_nodes(_nodes()), function, argument)

    def close(self) -> None:
        """Disconnect; end the cluster if it was started for this sweep."""
        self._session.close()

    def _hub(self, name: str, jobs: Sequence[Job], train: Train, slots: int) -> Any:
        """Start the hub and return its handle; Ray ends the hub when its last handle is gone."""
        import ray
        from ray import cloudpickle

        trainers = Trainers(name, cloudpickle.dumps(train), self.spec)
        packs = {job.pack.name: cloudpickle.dumps(job) for job in jobs}
        keys = {job.pack.name: [run.key for run in job.pack.runs] for job in jobs}
        waiting = slots * (self.spec.workers + 3)  # calls that may wait at once: ranks that ask, trials, and a few more
        actor = ray.remote(HubActor).options(name=name, num_cpus=0, resources=HEAD, max_concurrency=2 * waiting + 100)
        return actor.remote(packs, keys, self.spec.workers, trainers.fit, float(self.spec.hang_seconds))


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
