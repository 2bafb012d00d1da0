"""The run directory: attempts, one atomic commit, and what a sweep can trust after a crash.

``runs/<key>/attempt-<n>/`` is where attempt n works. A run is done when ``runs/<key>/COMMITTED.json`` exists: it is
written last, names the sha256 of every file, and exists once, whoever else tries. ``DIVERGED.json`` ends a run whose
loss stopped being a number: the same seed would only diverge again. ``STOPPED.json`` ends one that was beaten at a
rung, and names the rule; where another rule holds, it is taken back.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import RunError
from orchestrator.files import _sync, alone, make_folder, read_json, read_lines, sha256_of, sync_folder, write_json
from orchestrator.plan.runs import FORMAT
from orchestrator.store.manifest import DamagedRunError, _seal, _unsealed, canonical

COMMITTED, DIVERGED, STOPPED = "COMMITTED.json", "DIVERGED.json", "STOPPED.json"
DONE = ("committed", "dropped", "stopped")  # of a row's statuses, those of which nothing is left to do or to mend
ENDS = {"committed": COMMITTED, "diverged": DIVERGED, "stopped": STOPPED}
ARTEFACTS = ("adapter", "metrics.jsonl", "predictions.jsonl")


class FencedError(RunError):
    """Another trainer has taken this run over, or ended it."""


@dataclass(frozen=True)
class RunFolder:
    """One run's folder."""

    path: Path

    def begin(self, spec: Mapping[str, Any]) -> Attempt:
        """Open the next attempt; every earlier one is thereby fenced off. FencedError if the run has ended."""
        make_folder(self.path)
        with alone(self.path):
            if self.ended():
                raise FencedError(f"{self.path} is {self.ended()} already.")
            number = max(self._attempts(), default=0) + 1
            (self.path / f"attempt-{number}").mkdir()
            write_json(self.path / "run.json", {"format": FORMAT, **spec})
        return Attempt(self, number)

    def ended(self) -> str | None:
        """Return "committed", "diverged", "stopped", or None for a run that is still to be trained."""
        return next((end for end, name in ENDS.items() if (self.path / name).exists()), None)

    def row(self) -> dict[str, Any]:
        """Return the result of a run that has ended; DamagedRunError where it cannot be read."""
        return dict(self._end()["row"])

    def stopped_by(self) -> str | None:
        """Return the rule by which a run was stopped; None for one that was not, or whose end cannot be read."""
        found = read_json(self.path / STOPPED) if self.ended() == "stopped" else None
        return str(found["rule"]) if isinstance(found, dict) and "rule" in found else None

    def reopen(self) -> None:
        """Take back a stop, so that the run is trained from its beginning; no other end is touched."""
        (self.path / STOPPED).unlink(missing_ok=True)
        sync_folder(self.path)

    def _end(self) -> dict[str, Any]:
        return _unsealed(self.path / ENDS[self.ended() or "diverged"])

    @property
    def error(self) -> Path:
        """Where the error of the last failed attempt is written."""
        return self.path.with_name(f"{self.path.name}.error.txt")

    def check(self) -> None:
        """Make sure that a run that has ended is what it was: DamagedRunError if not."""
        if self.ended() == "committed":
            self.verify()
        elif self.ended():
            self.row()

    def verify(self) -> None:
        """Compare every committed file with its sha256; DamagedRunError names the first that differs."""
        files = _unsealed(self.path / COMMITTED).get("files")
        if not isinstance(files, dict) or not files:
            raise DamagedRunError(f"{self.path / COMMITTED} is no manifest.")
        for name, digest in files.items():
            file = self.path / name
            if not file.is_file():
                raise DamagedRunError(f"{file} is missing.")
            if sha256_of(file) != digest:
                raise DamagedRunError(f"{file} is not what was committed.")

    def discard(self) -> None:
        """Take back a damaged end, so that the run is trained again; its files stay until they are replaced."""
        for name in ENDS.values():
            (self.path / name).unlink(missing_ok=True)
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

    def logged(self) -> int:
        """Return how many steps the newest attempt has logged, if it has not ended, without reading what they say."""
        newest = self.path / f"attempt-{max(self._attempts(), default=0)}"
        log = newest / "metrics.jsonl"
        if any((newest / name).exists() for name in ENDS.values()):  # it was taken back, and the next has yet to begin
            return 0
        return log.read_bytes().count(b"\n") if log.is_file() else 0

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
        """Make this attempt's artefacts the run's, for good; FencedError if another trainer has taken over."""
        with alone(self.run.path):
            self._hold()
            files = self._durable()
            for name in ARTEFACTS:
                _replace(self.path / name, self.run.path / name)
            sync_folder(self.run.path)
            self._end(COMMITTED, {"attempt": self.number, "row": dict(row), "files": files})
            for number in range(1, self.number + 1):  # this one, and what earlier ones left when they were killed
                shutil.rmtree(self.run.path / f"attempt-{number}", ignore_errors=True)

    def diverge(self, row: Mapping[str, Any]) -> None:
        """End the run as diverged: no adapter, no retry."""
        with alone(self.run.path):
            self._hold()
            self._end(DIVERGED, {"attempt": self.number, "row": dict(row)})

    def stop(self, row: Mapping[str, Any], rule: str) -> None:
        """End the run as stopped: no adapter, and no retry while ``rule`` is the sweep's."""
        with alone(self.run.path):
            self._hold()
            self._end(STOPPED, {"attempt": self.number, "row": dict(row), "rule": rule})

    def _durable(self) -> dict[str, str]:
        """Write every artefact through to the disk; return the sha256 of each by its name."""
        files: dict[str, str] = {}
        for name in ARTEFACTS:
            for file in sorted(path for path in [self.path / name, *(self.path / name).rglob("*")] if path.is_file()):
                _sync(file)
                files[str(file.relative_to(self.path))] = sha256_of(file)
        return files

    def _hold(self) -> None:
        newest = max(self.run._attempts(), default=0)
        if newest > self.number or self.run.ended():
            raise FencedError(
                f"{self.run.path}: attempt {self.number} must not commit: "
                + (f"the run is {self.run.ended()}." if self.run.ended() else f"attempt {newest} has begun.")
            )

    def _end(self, name: str, manifest: Mapping[str, Any]) -> None:
        """Create the file that ends the run; a hard link fails where it exists, so there is one commit."""
        draft = self.path / name
        write_json(draft, dict(manifest) | {"seal": _seal(canonical(manifest))})
        try:
            os.link(draft, self.run.path / name)
        except FileExistsError:
            raise FencedError(f"{self.run.path} has been ended by another trainer.") from None
        sync_folder(self.run.path)


def _replace(source: Path, target: Path) -> None:
    """Move ``source`` to ``target``, over what a crash may have left there."""
    if target.is_dir():
        shutil.rmtree(target)
    source.rename(target)
