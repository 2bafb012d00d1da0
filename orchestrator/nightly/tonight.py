"""What all parts of a night need: the ready sweep, the folders, and the cluster that its sweeps share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console

from orchestrator.cluster.cluster import Cluster
from orchestrator.cluster.session.address import named_address
from orchestrator.doctor import quick
from orchestrator.driver.opening import Opening
from orchestrator.driver.prepare import ReadySweep, make_ready
from orchestrator.driver.services import Shared, opened
from orchestrator.nightly.canary import with_fixed_order
from orchestrator.recipe.spec import SweepSpec
from orchestrator.say import Say, lines_to
from orchestrator.store.nights_folder import NightFolder, NightsFolder
from orchestrator.store.sweep_folder import SweepFolder


@dataclass(frozen=True)
class Tonight:
    """A night at work. ``ready`` is the whole sweep, ``command`` the night's command line as it is shown to people.

    ``asked`` is the recipe as it was read, for the sweep that chooses its adapter ranks itself.
    """

    asked: SweepSpec
    ready: ReadySweep
    nights: NightsFolder
    folder: NightFolder
    shared: Shared
    command: str
    console: Console

    @property
    def spec(self) -> SweepSpec:
        """The recipe, with the adapter ranks that its ``budget`` has chosen."""
        return self.ready.spec

    @property
    def sweep(self) -> SweepFolder:
        """The folder of the whole sweep."""
        return SweepFolder(self.nights.path.parent)

    @property
    def cluster(self) -> Cluster:
        """The cluster, opened on first use; InputError if it cannot be used."""
        return self.shared.cluster.result()

    @property
    def say(self) -> Say:
        """Print a line to whoever started the night."""
        return lines_to(self.console)


@contextmanager
def begun(spec: SweepSpec, night: NightFolder, command: str, console: Console) -> Iterator[Tonight]:
    """Within: base and rows are prepared, and the cluster is opened on first use; afterwards the cluster is closed.

    InputError if data, base or cluster cannot be used.
    """
    nights, folder, say = NightsFolder(night.path.parent), SweepFolder.of(spec), lines_to(console)
    cluster: Opening[Cluster] = Opening(lambda: opened(with_fixed_order(spec), folder, say))
    early = spec.cluster.kind == "ray" and named_address() is None  # a Ray of this driver's own (`Services`)
    try:
        if spec.cluster.kind == "local":
            cluster.result()
        else:
            quick.try_ray_of(spec)
        folder.fetch()
        ready = make_ready(spec, folder.cache, say, cluster.begin if early else None)
        shared = Shared(cluster, folder.cache, take_moved_base=spec.nightly.retrain_when_ruler_moves)
        yield Tonight(spec, ready, nights, night, shared, command, console)
    finally:
        cluster.close(lambda open_cluster: open_cluster.close())
