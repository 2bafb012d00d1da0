"""The folder of a sweep's nights: only this module knows the tree on disk under ``<storage>/<name>/nights/``."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath

from orchestrator import objects
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.sweep_folder import SweepFolder

NIGHTS = "nights"
"""The name of the folder of all nights within the folder of a sweep."""
CANARY, CONFIRM = "canary", "confirm"
"""The names of sweeps that lie in the folder of a night."""
DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
MEASURED, LOSSES, NIGHT_JSON = "measured.json", "losses.json", "night.json"
ANCHORS, FRONTIER, TOLD, FRESH = "anchors.json", "frontier.json", "told.json", "fresh"
READ = (MEASURED, LOSSES, NIGHT_JSON, ANCHORS, FRONTIER, TOLD)
"""The files of a night that a night reads."""


def date_of(name: str) -> date | None:
    """Return the date of a night by its name (``YYYY-MM-DD``); None if the name is no date.

    Example:
    >>> date_of("2027-02-29") is None, date_of("2027-02-28")
    (True, datetime.date(2027, 2, 28))
    """
    if not DATE.fullmatch(name):
        return None
    try:
        return date.fromisoformat(name)
    except ValueError:  # as of the 30th of February
        return None


@dataclass(frozen=True)
class NightFolder:
    """Where each file of one night lies.

    Example:
    >>> NightsFolder(Path("sweeps/mine/nights")).night("2026-11-28").measured.as_posix()
    'sweeps/mine/nights/2026-11-28/measured.json'
    """

    path: Path

    @property
    def name(self) -> str:
        """The date of the night, as ``YYYY-MM-DD``."""
        return self.path.name

    @property
    def measured(self) -> Path:
        """What the night has measured: a `verdict.night.Night` as JSON, with right or wrong per item."""
        return self.path / MEASURED

    @property
    def losses(self) -> Path:
        """Per run of the canary with a fixed seed the losses of its steps, exactly."""
        return self.path / LOSSES

    @property
    def anchors(self) -> Path:
        """The scores of the base and of the standing champions on this night, and the machine that scored them."""
        return self.path / ANCHORS

    @property
    def frontier(self) -> Path:
        """What the night has decided about the frontier: the content of ``nights/frontier.json`` after it, and why."""
        return self.path / FRONTIER

    @property
    def night_json(self) -> Path:
        """The verdict for programs; its existence, with the status "over", is the end of the night."""
        return self.path / NIGHT_JSON

    @property
    def told(self) -> Path:
        """Whom the night has told, by message."""
        return self.path / TOLD

    @property
    def page(self) -> Path:
        """The night's page, one HTML file."""
        return self.path / "index.html"

    @property
    def markdown(self) -> Path:
        """The night's page as Markdown, for a step summary or a chat."""
        return self.path / "summary.md"

    @property
    def storage(self) -> str:
        """The key ``storage`` in the recipes of the night's own sweeps, which are named `CANARY` and `CONFIRM`."""
        return objects.address_of(self.path) or str(self.path)

    @property
    def canary(self) -> SweepFolder:
        """The folder of the sweep that the night trains anew: its recipe has the name `CANARY` and `storage`."""
        return SweepFolder(self.path / CANARY)

    @property
    def fresh(self) -> SweepFolder:
        """The folder of the sweep with the seeds of this night alone: its recipe has the name `FRESH` and `storage`.

        The runs are apart from the canary's, because the bits of a run depend on the runs of its pack.
        """
        return SweepFolder(self.path / FRESH)

    @property
    def confirm(self) -> SweepFolder:
        """The folder of the sweep that confirms a candidate: its recipe has the name `CONFIRM` and `storage`."""
        return SweepFolder(self.path / CONFIRM)

    @property
    def bisect(self) -> Path:
        """The folder of the sweeps by which a culprit is looked for."""
        return self.path / "bisect"

    @property
    def bisect_storage(self) -> str:
        """The key ``storage`` in the recipes of the sweeps by which a culprit is looked for."""
        return objects.address_of(self.bisect) or str(self.bisect)


@dataclass(frozen=True)
class NightsFolder:
    """Where the nights of a sweep lie, and the files that belong to all of them. ``path`` also has their lease."""

    path: Path

    @classmethod
    def of(cls, spec: SweepSpec) -> NightsFolder:
        """Return the nights of the sweep that a recipe names; InputError for an address that no storage can have."""
        return cls(SweepFolder.of(spec).path / NIGHTS)

    @property
    def lease(self) -> Path:
        """The folder whose lease (`store.lease.hold`) is the right to run a night."""
        return self.path

    @property
    def frontier(self) -> Path:
        """Per method, of which night the runs of the frontier are, and under which bytes they were trained."""
        return self.path / "frontier.json"

    @property
    def rows(self) -> Path:
        """All nights that are over, one row per night; it lies beside ``results.jsonl`` of the sweep."""
        return self.path.parent / "nights.jsonl"

    @property
    def trend(self) -> Path:
        """The page over all nights, one HTML file."""
        return self.path / "index.html"

    def have_begun(self) -> bool:
        """Return whether the sweep has nights, on the disk or in the object store."""
        return bool(objects.sizes(self.path)) if objects.key_of(self.path) else self.path.is_dir()

    def night(self, name: str) -> NightFolder:
        """Return the folder of the night with this date (``YYYY-MM-DD``)."""
        return NightFolder(self.path / name)

    @property
    def nights(self) -> list[NightFolder]:
        """The nights that have begun, over or not, the oldest first; in an object store those of the last `fetch`."""
        names = [path.name for path in self.path.glob("*/") if date_of(path.name)]
        return [self.night(name) for name in sorted(names)]

    @property
    def newest(self) -> NightFolder | None:
        """The newest night that has begun, over or not; None before the first night."""
        return next(reversed(self.nights), None)

    def fetch(self) -> None:
        """Make the near copy of an object store tell the same nights as the store; the caller holds the lease.

        Fetched is what the next night reads: the files that belong to all nights, and each night's measurements and
        verdict. What another machine has deleted is forgotten. Without an object store nothing happens.
        """
        if objects.key_of(self.path) is None:
            return
        there = objects.sizes(self.path)
        names = {name.split("/", 1)[0] for name in there if date_of(name.split("/", 1)[0])}
        self._forget(names, there)
        for name in names:
            self.night(name).path.mkdir(parents=True, exist_ok=True)
        newest = max(names, default="")
        objects.fetch(self.path, lambda name: _is_read_by_a_night(name) and name.parts[0] in (newest, name.name))
        # an older night never works again, so its files do not change
        objects.fetch(self.path, lambda name: _is_read_by_a_night(name) and len(name.parts) > 1, changes=False)
        objects.fetch_file(self.rows)

    def _forget(self, names: Collection[str], there: Collection[str]) -> None:
        """Remove from the near copy the nights and the files of nights that the store does not have."""
        for night in self.nights:
            if night.name not in names:
                shutil.rmtree(night.path, ignore_errors=True)
            for name in READ:
                if f"{night.name}/{name}" not in there:
                    (night.path / name).unlink(missing_ok=True)


def _is_read_by_a_night(name: PurePosixPath) -> bool:
    """Return whether the next night reads the file ``name`` of the folder of all nights."""
    if len(name.parts) == 1:
        return name.suffix == ".json"
    return len(name.parts) == 2 and name.name in READ
