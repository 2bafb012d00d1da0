"""All packs on Ray Tune: a trial a pack. Tune schedules; what is done is read from the run folders alone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from orchestrator.cluster.cluster import Failures
from orchestrator.cluster.ray_train import fit_pack
from orchestrator.cluster.session import open_session
from orchestrator.errors import InputError
from orchestrator.pack import PackJob
from orchestrator.spec import ClusterSpec

# A trial's own function only waits for Train's workers. It takes no CPU from them (0.01 of one would keep the last
# worker of a full machine waiting) but a sliver of the head node, which is never a preemptible one.
DRIVER = {"CPU": 0.0, "node:__internal_head__": 0.0001}


class RayCluster:
    """A Ray cluster, joined or started."""

    def __init__(self, spec: ClusterSpec, storage: Path) -> None:
        self.spec, self.storage = spec, storage
        self._session = open_session(spec.cpus_per_worker)
        try:
            self.concurrent = self._concurrent()
        except InputError:
            self._session.close()
            raise

    def run_packs(self, jobs: Sequence[PackJob]) -> Failures:
        """Run the packs as trials of one Tuner."""
        from ray import tune

        stamp = f"{time.time_ns():x}"  # Tune and Train must not find an earlier one of the same name
        tuner = tune.Tuner(
            tune.with_resources(_trial, tune.PlacementGroupFactory([DRIVER])),
            param_space={
                "job": tune.grid_search(list(jobs)),
                "cluster": self.spec,
                "storage": str(self.storage),
                "stamp": stamp,
            },
            tune_config=tune.TuneConfig(
                max_concurrent_trials=self.concurrent, trial_dirname_creator=_dirname, trial_name_creator=_dirname
            ),
            run_config=tune.RunConfig(name=f"tune-{stamp}", storage_path=str(self.storage), verbose=0),
        )
        results = tuner.fit()
        failures = {}
        for result in results:
            if result.error is not None:
                failures[result.config["job"].pack.name] = str(result.error)
        if not failures:  # what Tune and Train have kept of it is never read again
            shutil.rmtree(self.storage, ignore_errors=True)
        return failures

    def call(self, function: Callable[[Path], Any], argument: Path) -> Any:
        """Run the function as a task with one worker's resources."""
        import ray

        options = {"num_cpus": self.spec.cpus_per_worker, "num_gpus": self.spec.gpus_per_worker, "max_retries": 0}
        return ray.get(ray.remote(_call).options(**options).remote(function, argument))

    def close(self) -> None:
        """Leave the cluster, or end it if it was started for this sweep."""
        self._session.close()

    def _concurrent(self) -> int:
        """Return how many trainers fit: Train's workers are outside Tune's accounting."""
        import ray

        there, spec = ray.cluster_resources(), self.spec
        fits = int(there.get("CPU", 0)) // (spec.workers * spec.cpus_per_worker)
        if spec.gpus_per_worker:
            fits = min(fits, int(there.get("GPU", 0)) // (spec.workers * spec.gpus_per_worker))
        if not fits:
            raise InputError(
                f"cluster: {spec.workers} workers of {spec.cpus_per_worker} CPUs and {spec.gpus_per_worker} GPUs do "
                f"not fit into {int(there.get('CPU', 0))} CPUs and {int(there.get('GPU', 0))} GPUs."
            )
        return fits if spec.max_concurrent == "auto" else min(fits, int(spec.max_concurrent))


def _call(function: Callable[[Path], Any], argument: Path) -> Any:
    return function(argument)


def _dirname(trial: Any) -> str:
    return f"trial-{trial.trial_id}"


def _trial(config: dict[str, Any]) -> None:
    from ray import tune

    job: PackJob = config["job"]
    trial = tune.get_context().get_trial_id()
    fit_pack(job, config["cluster"], f"train-{config['stamp']}-{trial}", config["storage"])
    tune.report({"pack": job.pack.name, "runs": len(job.pack.runs)})
