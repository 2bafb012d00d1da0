"""Tune's trials, one per pack, in a thread of the driver: they show packs in Tune, and nothing depends on them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.cluster.cluster import Job
from orchestrator.cluster.hub.hub import HEAD

AT_ONCE = 2  # trials at a time; each is a process of 100 MB on the head, however many trainers there are


class Trials:
    """One Tune trial per pack of a hub. A trial that dies, or Tune itself, changes only what Tune shows."""

    def __init__(
        self, hub: str, round_: int, jobs: Mapping[str, Job], storage: Path, say: Callable[[str], None]
    ) -> None:
        """Begin the trials of a round; ``jobs`` are by the name that the hub gives the pack."""
        self._say, self._over = say, False
        packs = [{"name": name, "runs": len(job.pack.runs)} for name, job in jobs.items()]
        arguments = (hub, f"{hub.replace('hub', 'tune', 1)}-{round_}", packs, storage)
        self._thread = threading.Thread(target=self._run, args=arguments, name="tune", daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Say nothing more: the job is being stopped, and waits for no trial."""
        self._over = True

    def join(self, seconds: float) -> None:
        """Wait until the trials have ended, after the hub has; say so if they have not after ``seconds``."""
        self._over = True
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._say(f"Ray Tune has not ended its trials after {seconds:.0f} s; all packs have ended, the job goes on")

    def _run(self, hub: str, name: str, packs: Sequence[dict[str, Any]], storage: Path) -> None:
        try:
            _fit(hub, name, packs, storage)
        except BaseException as error:  # of any kind: training needs no trial
            if not self._over:
                self._say(f"Ray Tune shows the packs no longer ({error!r}); training goes on")


def trial(config: dict[str, Any]) -> None:
    """Wait for the end of a pack and report it: the trial that Tune schedules.

    The wait lasts as long as the pack; if the hub dies, Ray raises here. A pack that failed is reported, not raised,
    because Tune would print Ray's traceback into the job's output.
    """
    import ray
    from ray import tune

    pack = config["pack"]
    error = ray.get(ray.get_actor(config["hub"]).wait.remote(pack["name"]))
    tune.report({"pack": pack["name"], "runs": pack["runs"], "failed": bool(error), "error": error})


def _fit(hub: str, name: str, packs: Sequence[dict[str, Any]], storage: Path) -> None:
    from ray import tune

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # it logs a traceback per trial that dies
    tune.Tuner(
        tune.with_resources(trial, tune.PlacementGroupFactory([{"CPU": 0.0} | HEAD])),
        param_space={"hub": hub, "pack": tune.grid_search(list(packs))},
        tune_config=tune.TuneConfig(
            max_concurrent_trials=AT_ONCE,
            reuse_actors=True,
            trial_dirname_creator=_dirname,
            trial_name_creator=_dirname,
        ),
        run_config=tune.RunConfig(name=name, storage_path=str(storage), verbose=0),
    ).fit()


def _dirname(trial: Any) -> str:
    return f"trial-{trial.trial_id}"
