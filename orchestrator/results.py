"""The run directory: attempts, one atomic commit, and what a sweep can trust after a crash.

``runs/<key>/attempt-<n>/`` is where attempt n works. A run is done when ``runs/<key>/COMMITTED.json`` exists: it is
written last, names the sha256 of every file, and exists once, whoever else tries. ``DIVERGED.json`` ends a run whose
loss stopped being a number: the same seed would only diverge again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import RunError
from orchestrator.files import read_json, read_lines, sha256_of, sync_folder, write_json

COMMITTED, DIVERGED = "COMMITTED.json", "DIVERGED.json"
ARTEFACTS = ("adapter", "metrics.jsonl", "predictions.jsonl")


class DamagedRunError(RunError):
    """A committed run whose files are not what was committed."""


@dataclass(frozen=True)
class RunFolder:
    """One run's folder."""

    path: Path

    def begin(self, spec: Mapping[str, Any]) -> Attempt:
        """Open the next attempt; every earlier one is thereby fenced off and cannot commit."""
        number = max(self._attempts(), default=0) + 1
        while True:
            folder = self.path / f"attempt-{number}"
            try:
                folder.mkdir(parents=True)
                break
            except FileExistsError:  # another trainer took this number a moment ago
                number += 1
        write_json(self.path / "run.json", dict(spec))
        return Attempt(self, number)

    def ended(self) -> str | None:
        """Return "committed", "diverged", or None for a run that is still to be trained."""
        if (self.path / COMMITTED).exists():
            return "committed"
        return "diverged" if (self.path / DIVERGED).exists() else None

    def row(self) -> dict[str, Any]:
        """Return the result of a run that has ended; DamagedRunError where it cannot be read."""
        for name in (COMMITTED, DIVERGED):
            manifest = read_json(self.path / name)
            if isinstance(manifest, dict) and isinstance(manifest.get("row"), dict):
                return dict(manifest["row"])
        raise DamagedRunError(f"{self.path}: {COMMITTED} cannot be read. Delete the folder to train the run again.")

    def verify(self) -> None:
        """Compare every committed file with its sha256; DamagedRunError names the first that differs."""
        manifest = read_json(self.path / COMMITTED)
        files = manifest.get("files") if isinstance(manifest, dict) else None
        if not isinstance(files, dict) or not files:
            raise DamagedRunError(f"{self.path / COMMITTED} is no manifest.")
        for name, digest in files.items():
            file = self.path / name
            if not file.is_file():
                raise DamagedRunError(f"{file} is missing.")
            if sha256_of(file) != digest:
                raise DamagedRunError(f"{file} is not what was committed.")

    def discard(self) -> None:
        """Take back a damaged commit, so that the run is trained again; its files stay until they are replaced."""
        (self.path / COMMITTED).unlink(missing_ok=True)
        sync_folder(self.path)

    def attempted(self) -> bool:
        """Tell whether an attempt is open."""
        return bool(self._attempts())

    def metrics(self) -> list[dict[str, Any]]:
        """Return the steps logged so far: those committed, or those of the newest attempt."""
        if (self.path / COMMITTED).exists():
            return read_lines(self.path / "metrics.jsonl")
        number = max(self._attempts(), default=0)
        return read_lines(self.path / f"attempt-{number}" / "metrics.jsonl") if number else []

    def _attempts(self) -> list[int]:
        found = (path.name.removeprefix("attempt-") for path in self.path.glob("attempt-*"))
        return [int(number) for number in found if number.isdigit()]


@dataclass(frozen=True)
class Attempt:
    """One try at a run; it works in a folder of its own and may commit if no later one has begun."""

    run: RunFolder
    number: int

    @property
    def path(self) -> Path:
        """Where this attempt writes."""
        return self.run.path / f"attempt-{self.number}"

    def commit(self, row: Mapping[str, Any]) -> None:
        """Make this attempt's artefacts the run's, for good; RunError if a later attempt or another commit is there."""
        self._hold()
        files: dict[str, str] = {}
        for name in ARTEFACTS:
            for file in sorted(path for path in [self.path / name, *(self.path / name).rglob("*")] if path.is_file()):
                _sync(file)
                files[str(file.relative_to(self.path))] = sha256_of(file)
        for name in ARTEFACTS:
            _replace(self.path / name, self.run.path / name)
        sync_folder(self.run.path)
        self._end(COMMITTED, {"attempt": self.number, "row": dict(row), "files": files})
        shutil.rmtree(self.path)

    def diverge(self, row: Mapping[str, Any]) -> None:
        """End the run as diverged: no adapter, no retry."""
        self._hold()
        self._end(DIVERGED, {"attempt": self.number, "row": dict(row)})

    def _hold(self) -> None:
        newest = max(self.run._attempts(), default=0)
        if newest > self.number or self.run.ended():
            raise RunError(
                f"{self.run.path}: attempt {self.number} must not commit: "
                + (f"the run is {self.run.ended()}." if self.run.ended() else f"attempt {newest} has begun.")
            )

    def _end(self, name: str, manifest: Mapping[str, Any]) -> None:
        """Create the file that ends the run; a hard link fails where it exists, so there is one commit."""
        draft = self.path / name
        write_json(draft, dict(manifest))
        try:
            os.link(draft, self.run.path / name)
        except FileExistsError:
            raise RunError(f"{self.run.path} has been committed by another trainer.") from None
        sync_folder(self.run.path)


def canonical(value: Any) -> Any:
    """Return ``value`` as JSON gives it back: what is compared must have made the same journey."""
    return json.loads(json.dumps(value, allow_nan=False))


def _replace(source: Path, target: Path) -> None:
    """Move ``source`` to ``target``, over what a crash may have left there."""
    if target.is_dir():
        shutil.rmtree(target)
    source.rename(target)


def _sync(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
