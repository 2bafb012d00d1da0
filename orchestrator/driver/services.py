"""The cluster and the tracker that a recipe names: checked before anything starts, opened on first use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from orchestrator.addresses import SERVERS
from orchestrator.cluster.cluster import Cluster
from orchestrator.cluster.opening import open_cluster
from orchestrator.cluster.session.address import named_address
from orchestrator.doctor.quick import try_from_nodes, try_ray_of
from orchestrator.driver.final_message import pages_of
from orchestrator.driver.opening import Opening
from orchestrator.files import read_lines
from orchestrator.recipe.environment import experiment_passed_over, passed_over
from orchestrator.recipe.spec import SweepSpec
from orchestrator.say import Say
from orchestrator.store.identity import Identity, identity_of
from orchestrator.store.rows import FINAL
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.tracking.in_memory import MemoryTracker
from orchestrator.tracking.patient import PatientTracker
from orchestrator.tracking.sqlite_address import absolute
from orchestrator.tracking.tracker import Tracker


@dataclass(frozen=True)
class Shared:
    """What the sweeps of one night share: the ``cluster``, which the first of them opens, and the ``cache``.

    With ``take_moved_base`` a sweep goes on with another commit of its base (`driver.provenance.refuse_moved_base`).
    """

    cluster: Opening[Cluster]
    cache: Path
    take_moved_base: bool = False


class Services:
    """The ``tracker`` and the `cluster` of a sweep; the ``with`` block closes the cluster at its end.

    Making this object opens neither. The ``with`` block makes the tracker, so the lease of the sweep has to be held
    before. An error that leaves the block ends what the tracker shows as running. `check` refuses addresses and
    resources that cannot be used, because waiting does not mend them. ``tracker.begin`` connects in a thread. The first
    use of `cluster` opens the cluster, or waits for `begin_cluster`. A cluster that is ``shared`` stays open.
    """

    def __init__(
        self, spec: SweepSpec, folder: SweepFolder, command: str, say: Say, shared: Shared | None = None
    ) -> None:
        self._spec, self._folder, self._command, self._say = spec, folder, command, say
        self.tracker: PatientTracker
        self._own = shared is None
        self._opening = Opening(lambda: opened(spec, folder, say)) if shared is None else shared.cluster

    def check(self) -> None:
        """Refuse a cluster or a tracker that cannot be used, before data and base are prepared: InputError.

        A local cluster is opened here, because opening it starts nothing and finds out whether there is a GPU.
        """
        if self._spec.cluster.kind == "local":
            self._opening.result()
        else:
            try_ray_of(self._spec)
        self.tracker.look()
        tracking = self._spec.tracking
        lines = [passed_over(tracking.uri, os.environ)]
        if tracking.uri.startswith(SERVERS):
            lines.append(f"MLflow shows the runs: {pages_of(tracking.uri)}")
        if tracking.experiment is not None:
            lines.append(experiment_passed_over(tracking.experiment, os.environ))
        for line in filter(None, lines):
            self._say(line)

    def begin_cluster(self) -> None:
        """Begin to open the cluster in a thread, if there are runs to train; `cluster` raises the error of the opening.

        Only a Ray of this driver's own is begun early: to join a cluster takes a moment, and a cluster that does not
        answer would keep a sweep that is refused meanwhile from saying so. A sweep whose results are all there opens no
        cluster; whether its recipe asks for more runs is known only when all run keys are known.
        """
        results = read_lines(self._folder.results) if self._folder.results.exists() else []
        done = bool(results) and all(row.get("status") in FINAL for row in results)
        if named_address() is None and not done:
            self._opening.begin()

    @property
    def cluster(self) -> Cluster:
        """The cluster, opened on first use; a sweep with nothing to do opens none. InputError as `open_cluster`."""
        return self._opening.result()

    def __enter__(self) -> Self:
        tracker = make_tracker(self._spec, self._command, identity_of(self._folder), self._say)
        self.tracker = PatientTracker(tracker, self._say)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._own:
                self._opening.close(lambda cluster: cluster.close())  # first, because it ends the runs
        finally:
            if kind is not None:
                self.tracker.interrupt()


def opened(spec: SweepSpec, folder: SweepFolder, say: Say) -> Cluster:
    """Open the cluster of a sweep, and try the storage from its other nodes; InputError closes the cluster again."""
    cluster = open_cluster(spec, folder.ray, say)
    try:
        try_from_nodes(cluster.on_other_nodes, folder.path.parent)
    except BaseException:
        cluster.close()
        raise
    return cluster


def make_tracker(spec: SweepSpec, command: str, identity: Identity, say: Say = lambda _: None) -> Tracker:
    """Return the tracker that the recipe names; nothing is connected yet."""
    if spec.tracking.uri == "none":
        return MemoryTracker()
    from orchestrator.tracking.mlflow.tracker import MlflowTracker

    return MlflowTracker(spec, absolute(spec.tracking.uri), command, identity, say)
