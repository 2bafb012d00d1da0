"""The hub of a sweep, as the driver holds it: made for the first round, given the packs of each round, ended once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from orchestrator.cluster.cluster import Failures, Job
from orchestrator.cluster.dialogue import HUB_SECONDS, Dialogue
from orchestrator.cluster.hub.hub import HEAD
from orchestrator.cluster.hub.neighbours import PREFIX
from orchestrator.cluster.hub.watch import HubActor
from orchestrator.cluster.news import News
from orchestrator.cluster.signals import GRACE_SECONDS, stopped_by_signals
from orchestrator.cluster.trainers.ranks import Trainers
from orchestrator.cluster.trials import Trials
from orchestrator.errors import InputError
from orchestrator.recipe.cluster_section import ClusterSpec

TRIAL_SECONDS = 30.0  # for Tune to end its trials after all packs have ended
RELEASE_SECONDS = 30.0  # for trainers without a pack to end
CALLS = 100_000  # calls that may wait in a hub at once: ranks that ask, and trials


class SweepHub:
    """One hub and its trainers. ``alive`` is whether it can take the packs of another round."""

    def __init__(self, spec: ClusterSpec, train: bytes, storage: Path, news: News, say: Callable[[str], None]) -> None:
        """Start the hub; ``train`` is the pickled function of its trainers, ``storage`` the folder of Tune's files.

        Ray ends the hub with this process, and when the last handle of the hub is gone.
        """
        import ray

        self.train = train
        self._name, self._storage, self._news, self._say = f"{PREFIX}{time.time_ns():x}", storage, news, say
        self._rounds, self._trained = 0, False
        options = {"name": self._name, "num_cpus": 0, "resources": HEAD, "max_concurrency": CALLS}
        self._hub = ray.remote(HubActor).options(**options).remote(spec, Trainers(self._name, train, spec).fit)
        self._hub.run.remote()
        self._dialogue = Dialogue(self._hub, news, say)

    @property
    def alive(self) -> bool:
        """Whether the hub has answered so far, and was not told to stop."""
        return self._dialogue.alive

    def run_packs(self, jobs: Sequence[Job]) -> Failures:
        """Let the hub train these packs to their ends; return the errors of those that failed, by the pack's name.

        KeyboardInterrupt (Ctrl-C, SIGTERM) lets the trainers save their runs first; a second one ends them at once.
        InputError if nothing was trained because not a single trainer had room.
        """
        self._rounds += 1
        names = {self._name_of(job): job for job in jobs}
        added = self._add(names)
        trials = Trials(self._name, self._rounds, names, self._storage, self._say)
        with stopped_by_signals(2 * GRACE_SECONDS) as signals:  # `Dialogue.stop` has its own limit
            try:
                failures = self._dialogue.follow(added, list(names), lambda: signals.came)
                if signals.came:
                    trials.leave()
                    self._dialogue.stop()
            except BaseException:  # a second signal
                trials.leave()
                self._dialogue.end()
                raise
        trials.join(TRIAL_SECONDS)
        self._trained = self._trained or self._news.begun
        if self._dialogue.no_room and not self._trained:
            raise InputError(f"cluster: {self._dialogue.no_room}")
        return {names[name].pack.name: error for name, error in failures.items()}

    def release(self) -> None:
        """Let trainers without a pack end, so that their room and their memory are free."""
        import ray

        if self.alive:
            try:
                ray.get(self._hub.release.remote(RELEASE_SECONDS), timeout=RELEASE_SECONDS + HUB_SECONDS)
            except ray.exceptions.RayError as error:
                self._say(f"the trainers could not be ended in good order ({error!r}); they are ended")
                self.close()

    def close(self) -> None:
        """End the hub and its trainers."""
        self._dialogue.end()

    def _name_of(self, job: Job) -> str:
        """Return the pack's name, which later rounds make distinct: names of packs begin anew in each round."""
        return job.pack.name if self._rounds == 1 else f"{job.pack.name}-round{self._rounds}"

    def _add(self, jobs: dict[str, Job]) -> Any:
        """Give the packs to the hub; return the call, which ends when the hub has them."""
        from ray import cloudpickle

        packs: dict[str, Any] = {name: cloudpickle.dumps(job) for name, job in jobs.items()}
        keys = {name: [run.key for run in job.pack.runs] for name, job in jobs.items()}
        return self._hub.add.remote(packs, keys)
