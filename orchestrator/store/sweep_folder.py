"""The folder of a sweep: only this module knows the tree on disk under ``<storage>/<name>/``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from orchestrator.files import read_json
from orchestrator.paths import storage_folder
from orchestrator.plan.runs import FORMAT
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.ends import refresh
from orchestrator.store.run_folder import RunFolder


@dataclass(frozen=True)
class SweepFolder:
    """Where each file of a sweep lies.

    Example:
    >>> SweepFolder(Path("sweeps/mine")).champion("arc_easy").as_posix()
    'sweeps/mine/champions/arc_easy'
    """

    path: Path

    @classmethod
    def of(cls, spec: SweepSpec) -> SweepFolder:
        """Return the folder of the sweep that a recipe names; InputError for an address that no storage can have."""
        return cls(storage_folder(spec.storage) / spec.name)

    def fetch(self) -> None:
        """Copy from the object store, if there is one, what this machine lacks or has otherwise."""
        refresh(self.path, _is_read_by_a_driver, "runs/*/")

    @property
    def sweep(self) -> Path:
        """How the sweep was made: resolved recipe, command, versions, git commit, fingerprints of base and data."""
        return self.path / "sweep.json"

    @property
    def packs(self) -> Path:
        """The packs of the latest round of training, so that a later start puts the same runs together."""
        return self.path / "packs.json"

    @property
    def spent(self) -> Path:
        """The worker-seconds that a sweep with a budget has taken so far, of all its starts."""
        return self.path / "spent.json"

    @property
    def identity(self) -> Path:
        """The random word by which a tracker knows this sweep from others of its name."""
        return self.path / "sweep.id"

    @property
    def results(self) -> Path:
        """The results, one row per run."""
        return self.path / "results.jsonl"

    @property
    def summary(self) -> Path:
        """The statistics over seeds and tasks."""
        return self.path / "summary.json"

    @property
    def report(self) -> Path:
        """The report, one HTML page."""
        return self.path / "report.html"

    @property
    def runs(self) -> Path:
        """The folder of all run folders."""
        return self.path / "runs"

    @property
    def logs(self) -> Path:
        """The folder with the logs of the driver and of each pack, as JSON lines."""
        return self.path / "logs"

    @property
    def ray(self) -> Path:
        """The files that Ray Tune writes; nothing of this project reads them."""
        return self.path / ".ray"

    @property
    def cache(self) -> Path:
        """The prepared data and bases, shared by all sweeps of a storage."""
        return self.path.parent / ".cache"

    def run(self, key: str) -> RunFolder:
        """Return the folder of the run with this key."""
        return RunFolder(self.runs / key)

    def predictions(self, key: str) -> Path:
        """Return the file of a run's predictions."""
        return self.path / "predictions" / f"{key}.jsonl"

    def champion(self, task: str) -> Path:
        """Return the directory of a task's merged champion."""
        return self.path / "champions" / task

    def base_scores(self, data: str, base_fingerprint: str, dtype: str) -> Path:
        """Return the file with the untrained base's scores on the test items of the prepared file ``data``."""
        return self.path / "base" / f"{Path(data).stem}-{base_fingerprint[:8]}-{dtype}.json"

    def evaluations(self) -> dict[str, Path]:
        """Return the file with the evaluation of each task's champion, by task.

        Directories of drafts and of older champions have a dot in their name, and are left out.
        """
        files = sorted(self.path.glob("champions/*/evaluation.json"))
        return {file.parent.name: file for file in files if "." not in file.parent.name}

    def runs_of_other_formats(self) -> int:
        """Return how many run folders hold results in the format of another version (`plan.runs.FORMAT`)."""
        specs = (read_json(file) for file in self.runs.glob("*/run.json"))
        return sum(isinstance(spec, dict) and spec.get("format", 1) != FORMAT for spec in specs)


def _is_read_by_a_driver(name: PurePosixPath) -> bool:
    """Return whether a driver reads the file ``name`` of a sweep: not checkpoints, nor what it writes itself anew.

    The nights of a sweep are fetched by `store.nights_folder`.
    """
    if name.parts[0] in ("predictions", "nights"):
        return False
    return "checkpoints" not in name.parts and not name.name.endswith(".error.txt")
