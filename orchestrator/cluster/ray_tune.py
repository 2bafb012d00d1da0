"""All packs on Ray Tune: a trial a pack. Tune schedules; what is done is read from the run folders alone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.cluster.cluster import Failures, Job, Train
from orchestrator.cluster.hub import HEAD, Hub, PackError, trial
from orchestrator.cluster.placement import concurrent_trainers, resources_of, strategy, told_placement
from orchestrator.cluster.ray_actor import SingleTrainers
from orchestrator.cluster.ray_session import open_session
from orchestrator.cluster.ray_train import Trainers
from orchestrator.errors import InputError
from orchestrator.recipe.sections import ClusterSpec


class RayCluster:
    """A Ray cluster, joined or started."""

    def __init__(self, spec: ClusterSpec, storage: Path, variables: Mapping[str, str] | None = None) -> None:
        """Join or start it; ``variables`` are put into the environment of every worker before it begins."""
        self.spec, self.storage = spec, storage
        self._session = open_session(spec.cpus_per_worker, variables, dashboard=spec.workers > 1)
        try:
            self._nodes = resources_of(_nodes())
            self.concurrent = concurrent_trainers(self._nodes, spec)
        except InputError:
            self._session.close()
            raise

    @property
    def remark(self) -> str | None:
        """What a user should know of where trainers lie, if anything."""
        return told_placement(self._nodes, self.spec)

    def run_packs(self, jobs: Sequence[Job], train: Train) -> Failures:
        """Run the packs as trials of one Tuner, on trainers that stay up from the first pack to the last."""
        if not jobs:
            return {}
        import ray

        stamp = f"{time.time_ns():x}"  # Tune and Train must not find an earlier one of the same name
        slots = min(self.concurrent, len(jobs))
        hub = self._hub(f"hub-{stamp}", jobs, train, slots)
        done = hub.run.remote(slots)
        failures = self._trials(stamp, jobs, slots)
        ray.wait([done])  # the trainers have left, and what they held is free for what comes next
        if not failures:  # what Tune and Train have kept of it is never read again
            shutil.rmtree(self.storage, ignore_errors=True)
        return failures

    def call(self, function: Callable[[Path], Any], argument: Path) -> Any:
        """Run the function with one worker's resources: as a task, or here where here is all there is.

        A local cluster without GPUs has nothing that this process has not, and this one has its libraries loaded: a
        task would take a process, and a quarter of a minute, to load them again.
        """
        if self._session.started_here and not self.spec.gpus_per_worker:
            return _call_here(function, argument, self.spec.cpus_per_worker)
        import ray

        options = {"num_cpus": self.spec.cpus_per_worker, "num_gpus": self.spec.gpus_per_worker, "max_retries": 0}
        once = ray.remote(max_calls=1)(_call)  # its process ends with it: what it held is free for trainers
        return ray.get(once.options(**options).remote(function, argument))

    def close(self) -> None:
        """Leave the cluster, or end it if it was started for this sweep."""
        self._session.close()

    def _hub(self, name: str, jobs: Sequence[Job], train: Train, slots: int) -> Any:
        """Start the hub; it ends with the last handle to it."""
        import ray
        from ray import cloudpickle

        trainers = self._trainers(name, cloudpickle.dumps(train))
        packs = {job.pack.name: cloudpickle.dumps(job) for job in jobs}
        waiting = slots * (self.spec.workers + 3)  # ranks that ask, trials that wait, and some air
        actor = ray.remote(Hub).options(name=name, num_cpus=0, resources=HEAD, max_concurrency=waiting + 10)
        return actor.remote(packs, self.spec.workers, trainers.fit)

    def _trainers(self, hub: str, train: bytes) -> SingleTrainers | Trainers:
        """Return what starts the trainers: Ray Train only where a trainer has several workers (ADR 28)."""
        if self.spec.workers == 1:
            return SingleTrainers(hub, train, self.spec)
        return Trainers(hub, train, self.spec, str(self.storage), strategy(self._nodes, self.spec))

    def _trials(self, stamp: str, jobs: Sequence[Job], slots: int) -> Failures:
        """Run a trial for each pack, one more than trainers at a time: its pack waits for the first that is free."""
        from ray import tune

        packs = [{"name": job.pack.name, "runs": len(job.pack.runs)} for job in jobs]
        tuner = tune.Tuner(
            tune.with_resources(trial, tune.PlacementGroupFactory([{"CPU": 0.0} | HEAD])),
            param_space={"hub": f"hub-{stamp}", "pack": tune.grid_search(packs)},
            tune_config=tune.TuneConfig(
                max_concurrent_trials=slots + 1,
                reuse_actors=True,
                trial_dirname_creator=_dirname,
                trial_name_creator=_dirname,
            ),
            run_config=tune.RunConfig(name=f"tune-{stamp}", storage_path=str(self.storage), verbose=0),
        )
        results = tuner.fit()
        return {one.config["pack"]["name"]: _said(one.error) for one in results if one.error is not None}


def _nodes() -> list[dict[str, Any]]:
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()
    return nodes


def _call(function: Callable[[Path], Any], argument: Path) -> Any:
    return function(argument)


def _call_here(function: Callable[[Path], Any], argument: Path, threads: int) -> Any:
    """Call the function in this process, with as many threads as a worker computes with."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return function(argument)
    finally:
        torch.set_num_threads(before)


def _said(error: Exception) -> str:
    """Return what a trainer said, without the words that Ray and Tune put around it."""
    cause = getattr(error, "cause", error)
    return str(cause if isinstance(cause, PackError) else error)


def _dirname(one: Any) -> str:
    return f"trial-{one.trial_id}"
