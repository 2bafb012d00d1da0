"""Show a sweep in MLflow: sweep -> task x method -> seed, continued where an earlier driver stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.addresses import SERVERS
from orchestrator.errors import DamagedRunError, RunError
from orchestrator.plan.runs import PlannedRun
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.champion import evaluation_in
from orchestrator.store.identity import Identity
from orchestrator.store.run_folder import RunFolder
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.tracking.mlflow.closing import close_runs, close_sweep
from orchestrator.tracking.mlflow.connection import failures_explained, open_client
from orchestrator.tracking.mlflow.database.sql import look_at_sql
from orchestrator.tracking.mlflow.experiment import usable_experiment
from orchestrator.tracking.mlflow.ledger import Ledger
from orchestrator.tracking.mlflow.pages import Pages
from orchestrator.tracking.mlflow.progress import Progress
from orchestrator.tracking.mlflow.registry.champions import own_name, register_champion
from orchestrator.tracking.mlflow.registry.flavour import give_flavour
from orchestrator.tracking.mlflow.registry.replaced import forget_before, register_before
from orchestrator.tracking.mlflow.stream import send_error, send_new
from orchestrator.tracking.sqlite_address import no_other_folder


class MlflowTracker:
    """Writes through `MlflowClient` alone, from the driver, in batches; tags say what each run is.

    Tags: ``sweep``, ``sweep_id`` (the word of the sweep's folder), ``kind`` (sweep, group, run), ``run_key``, ``task``,
    ``method``, ``seed``, ``lr``, ``model``.
    Times come from the run folders, so a value that is sent again is the same value, and the duration of a run in
    MLflow is that of its training.

    Example:
        command, identity = "python jobs/sweep.py recipe.yaml", identity_of(SweepFolder.of(sweep))
        tracker = MlflowTracker(sweep, "sqlite:////data/mlflow.db", command, identity)
        tracker.connect()
        tracker.sync(runs, Path("sweeps/mine"))
    """

    def __init__(
        self, sweep: SweepSpec, uri: str, command: str, identity: Identity, say: Callable[[str], None] = lambda _: None
    ) -> None:
        """Connect to nothing yet; ``say`` prints what a person has to know."""
        self.sweep, self.uri, self.command, self.identity, self._say = sweep, uri, command, identity, say
        self._moves = 0  # requests that have ended
        self._training: tuple[Sequence[PlannedRun], Path] | None = None  # of the last `sync`
        self._client: Any = None
        self._ledger: Ledger | None = None
        self._summarised_ms: int | None = None  # time of the first call, so that a repeated call sends equal requests

    def look(self) -> None:
        """Refuse a local database that cannot be opened, and a driver that is not installed; InputError."""
        look_at_sql(self.uri)

    def connect(self) -> None:
        """Create database and experiment once, before anybody writes, and list this sweep's runs in MLflow.

        The first time the runs that a killed driver has left running are ended; each is taken up again when it goes on.
        InputError for a fault that waiting does not mend, RunError for any other fault. A second call lists again.
        """
        with no_other_folder(self.uri), failures_explained(self.uri):
            self._client = open_client(self.uri, self._moved)
            experiment = usable_experiment(self._client, self.sweep.experiment, self.uri)
            ledger = Ledger(self._client, experiment, self.sweep, self.command, self.identity)
            ledger.resume()
            if self._ledger is None:
                close_runs(self._client, ledger)
            self._ledger = ledger

    def sync(self, runs: Sequence[PlannedRun], folder: Path) -> None:
        """Send new steps, then ends; whatever it raises, nothing is lost: call it again.

        Of runs that cannot be read the first error is raised when all others have been sent.
        """
        self._training = runs, folder
        unfinished = list(self._unfinished(runs, SweepFolder(folder)))
        unread: list[Exception] = []
        for run, place in unfinished:
            progress = None if self.ledger.known(run.key) else _read(place, [])
            if progress and progress.begin is not None:
                self.ledger.note_begin(run, progress.begin)
        for run, place in unfinished:
            progress = _read(place, unread)
            if progress and (progress.steps or progress.ended or self.ledger.known(run.key)):
                send_new(self._client, self.ledger, run, progress)
        if unread:
            raise RunError(str(unread[0]))  # without its cause: a folder that changes is whole at the next look

    def fail(self, run: PlannedRun, error: str) -> None:
        """End the run as FAILED with the end of its error; it is taken up again when it is trained again."""
        send_error(self._client, self.ledger.run(run), run, error)

    def interrupt(self) -> None:
        """Send what is left of the steps, and end all that MLflow shows as running as KILLED."""
        try:
            if self._training:
                self.sync(*self._training)
        finally:
            close_runs(self._client, self.ledger)
            close_sweep(self._client, self.ledger)

    def unshown(self, runs: Sequence[PlannedRun], folder: Path) -> int:
        """Return how many of these runs have a run folder and are not over in MLflow, as far as this driver knows."""
        return sum(1 for _ in self._unfinished(runs, SweepFolder(folder)))

    def moves(self) -> int:
        """Return how many requests have ended."""
        return self._moves

    def run_id(self, key: str) -> str | None:
        """Return MLflow's id of the run with this key; None where MLflow does not have the run."""
        known = self._ledger and self._ledger.known(key)
        return known.id if known else None

    def summarise(self, summary: Mapping[str, Any], folder: Path, complete: bool) -> None:
        """Put statistics, inputs, figures and files on groups and sweep, and end them."""
        self._summarised_ms = self._summarised_ms or round(time.time() * 1000)
        Pages(self._client, self.ledger, summary, SweepFolder(folder), self._summarised_ms).finish(complete)

    def register(self, task: str, evaluation: Mapping[str, Any], place: Path, before: Path | None = None) -> None:
        """Register the champion's directory as ``<sweep>-<task>`` (`own_name`), unless this very champion is there.

        The directory becomes a model that ``mlflow.transformers`` opens. The version of the champion in ``before`` gets
        the alias ``champion-before``; without it no version has this alias.
        """
        give_flavour(place)
        tags, server = self._tags(task, evaluation), self.uri.startswith(SERVERS)
        run_id = self.run_id(tags["run_key"])
        with no_other_folder(self.uri):  # the registry opens the database for itself
            name = own_name(self._client, f"{self.sweep.name}-{task}", self.identity, place, self._say)
            register_champion(self._client, name, tags, place, run_id, server)
            if before is None:
                forget_before(self._client, name)
            else:
                tags = self._tags(task, evaluation_in(before))
                register_before(self._client, name, tags, before, self.run_id(tags["run_key"]), server)

    def _tags(self, task: str, evaluation: Mapping[str, Any]) -> dict[str, str]:
        """Return the tags of a champion's version."""
        tags = {"run_key": str(evaluation["run_key"]), "task": task, "method": str(evaluation["method"])}
        return tags | {"sweep": self.sweep.name}

    @property
    def ledger(self) -> Ledger:
        """The ledger of this sweep's runs in MLflow; RuntimeError before `connect`."""
        if self._ledger is None:
            raise RuntimeError("MlflowTracker.connect() has to be called first.")
        return self._ledger

    def _unfinished(self, runs: Sequence[PlannedRun], folder: SweepFolder) -> Iterator[tuple[PlannedRun, RunFolder]]:
        """Yield the runs that have a run folder and are not over in MLflow.

        A stopped run is over while its stop stands: a search with another rule takes the stop back.
        """
        begun = {path.name for path in folder.runs.glob("*")}
        for run in runs:
            if run.key not in begun:
                continue
            known, place = self._ledger and self._ledger.known(run.key), folder.run(run.key)
            state = known.state if known else "open"
            if state != "ended" and not (state == "stopped" and place.ended() == "stopped"):
                yield run, place

    def _moved(self) -> None:
        self._moves += 1


def _read(place: RunFolder, unread: list[Exception]) -> Progress | None:
    """Return the progress of a run; where its folder cannot be read None, and the error in ``unread``."""
    try:
        return Progress.of(place)
    except (OSError, ValueError, DamagedRunError) as error:
        unread.append(error)
        return None
