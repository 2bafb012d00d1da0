"""Run packs on Ray Tune, one trial per pack. Tune schedules the trials; results are read from the run folders alone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.cluster.cluster import Failures, Job, Train
from orchestrator.cluster.hub import HEAD, Hub, trial
from orchestrator.cluster.placement import concurrent_trainers, placement_remark, resources_of, strategy
from orchestrator.cluster.ray_actor import SingleTrainers
from orchestrator.cluster.ray_session import keep_own_sigterm, open_session
from orchestrator.cluster.ray_train import Trainers
from orchestrator.errors import InputError, PackError
from orchestrator.recipe.sections import ClusterSpec


class RayCluster:
    """A Ray cluster that was joined or started. ``concurrent`` is the number of trainers that run at the same time."""

    def __init__(self, spec: ClusterSpec, storage: Path, variables: Mapping[str, str] | None = None) -> None:
        """Join or start the cluster; every worker begins with ``variables`` in its environment.

        InputError if no Ray answers, or if not a single trainer fits.
        """
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
        """A line for the user if the workers of a trainer lie on several nodes, else None."""
        return placement_remark(self._nodes, self.spec)

    def run_packs(self, jobs: Sequence[Job], train: Train) -> Failures:
        """Run the packs as trials of one Tuner, on trainers that stay up from the first pack to the last (ADR 5)."""
        if not jobs:
            return {}
        import ray

        keep_own_sigterm()
        stamp = f"{time.time_ns():x}"  # a new name, because Tune and Train would resume an earlier experiment
        slots = min(self.concurrent, len(jobs))
        hub = self._hub(f"hub-{stamp}", jobs, train, slots)
        done = hub.run.remote(slots)
        failures = self._trials(stamp, jobs, slots)
        ray.wait([done])  # until the trainers have ended and their resources are free for the next call
        if not failures:  # then the files of Tune and Train are never read again
            shutil.rmtree(self.storage, ignore_errors=True)
        return failures

    def call(self, function: Callable[[Path], Any], argument: Path) -> Any:
        """Run ``function(argument)`` with the resources of one worker, and return its result.

        On a local cluster without GPUs the function runs in this process. A Ray task would have no more resources, and
        its new process would first load all libraries, which takes about 15 seconds.
        """
        if self._session.started_here and not self.spec.gpus_per_worker:
            return _call_here(function, argument, self.spec.cpus_per_worker)
        import ray

        options = {"num_cpus": self.spec.cpus_per_worker, "num_gpus": self.spec.gpus_per_worker, "max_retries": 0}
        once = ray.remote(max_calls=1)(_call)  # its process ends with the task, so its memory is free for trainers
        return ray.get(once.options(**options).remote(function, argument))

    def close(self) -> None:
        """Disconnect; end the cluster if it was started for this sweep."""
        self._session.close()

    def _hub(self, name: str, jobs: Sequence[Job], train: Train, slots: int) -> Any:
        """Start the hub and return its handle; Ray ends the hub when its last handle is gone."""
        import ray
        from ray import cloudpickle

        trainers = self._trainers(name, cloudpickle.dumps(train))
        packs = {job.pack.name: cloudpickle.dumps(job) for job in jobs}
        waiting = slots * (self.spec.workers + 3)  # calls that may wait at once: ranks that ask, trials, and a few more
        actor = ray.remote(Hub).options(name=name, num_cpus=0, resources=HEAD, max_concurrency=waiting + 10)
        return actor.remote(packs, self.spec.workers, trainers.fit)

    def _trainers(self, hub: str, train: bytes) -> SingleTrainers | Trainers:
        """Return the object that runs trainers: Ray Train if a trainer has several workers, else one actor (ADR 28)."""
        if self.spec.workers == 1:
            return SingleTrainers(hub, train, self.spec)
        return Trainers(hub, train, self.spec, str(self.storage), strategy(self._nodes, self.spec))

    def _trials(self, stamp: str, jobs: Sequence[Job], slots: int) -> Failures:
        """Run one trial per pack and return the errors of the packs that failed.

        At a time there is one trial more than trainers, so a free trainer finds a pack that waits.
        """
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
        return {ended.config["pack"]["name"]: _message(ended.error) for ended in results if ended.error is not None}


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


def _message(error: Exception) -> str:
    """Return the error message of a trainer, without the text that Ray and Tune put around the message."""
    cause = getattr(error, "cause", error)
    return str(cause if isinstance(cause, PackError) else error)


def _dirname(trial: Any) -> str:
    return f"trial-{trial.trial_id}"
