"""One attempt at a run: its folder, and the atomic step by which the attempt ends the run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import FencedError
from orchestrator.files import locked, sha256_of, sync_file, sync_folder, write_json
from orchestrator.store.ends import COMMITTED, DIVERGED, STOPPED, attempt_folder, end_of, newest_attempt
from orchestrator.store.manifest import sealed

ARTEFACTS = ("adapter", "metrics.jsonl", "predictions.jsonl")
"""The names that a commit moves from the attempt's folder to the run's folder."""


@dataclass(frozen=True)
class Attempt:
    """Attempt ``number`` at the run in folder ``run``; it may end the run as long as no later attempt has begun."""

    run: Path
    number: int

    @property
    def path(self) -> Path:
        """The folder in which this attempt writes."""
        return attempt_folder(self.run, self.number)

    def commit(self, row: Mapping[str, Any]) -> str:
        """Make the artefacts of this attempt the result of the run, with its ``row``; return the manifest's seal.

        FencedError if a later attempt has begun, or if the run has ended.
        """
        with locked(self.run):
            self._check_not_fenced()
            files = self._durable_artefacts()
            for name in ARTEFACTS:
                _move_over(self.path / name, self.run / name)
            sync_folder(self.run)
            seal = self._end(COMMITTED, {"attempt": self.number, "row": dict(row), "files": files})
            for number in range(1, self.number + 1):  # this attempt, and earlier attempts that were killed
                shutil.rmtree(attempt_folder(self.run, number), ignore_errors=True)
            return seal

    def diverge(self, row: Mapping[str, Any]) -> str:
        """End the run as diverged: without an adapter, and no driver trains it again. FencedError as in `commit`."""
        with locked(self.run):
            self._check_not_fenced()
            return self._end(DIVERGED, {"attempt": self.number, "row": dict(row)})

    def stop(self, row: Mapping[str, Any], rule: str) -> str:
        """End the run as stopped by ``rule``: the run has no adapter, and a sweep with the same rule trains it no more.

        FencedError as in `commit`.
        """
        with locked(self.run):
            self._check_not_fenced()
            return self._end(STOPPED, {"attempt": self.number, "row": dict(row), "rule": rule})

    def _durable_artefacts(self) -> dict[str, str]:
        """Make the content of every artefact durable; return the sha256 of each file by its name."""
        digests: dict[str, str] = {}
        for name in ARTEFACTS:
            for file in sorted(path for path in [self.path / name, *(self.path / name).rglob("*")] if path.is_file()):
                sync_file(file)
                digests[str(file.relative_to(self.path))] = sha256_of(file)
        return digests

    def _check_not_fenced(self) -> None:
        newest, end = newest_attempt(self.run), end_of(self.run)
        if newest > self.number or end:
            raise FencedError(
                f"{self.run}: attempt {self.number} must not commit: "
                + (f"the run is {end}." if end else f"attempt {newest} has begun.")
            )

    def _end(self, name: str, manifest: Mapping[str, Any]) -> str:
        """Create the file that ends the run, and return its seal.

        The file is linked, not renamed: a rename would replace the end that another machine has written meanwhile, but
        a hard link fails where the name exists. So a run ends once.
        """
        draft = self.path / name
        content = sealed(manifest)
        write_json(draft, content)
        try:
            os.link(draft, self.run / name)
        except FileExistsError:
            raise FencedError(f"{self.run} has been ended by another trainer.") from None
        sync_folder(self.run)
        return str(content["seal"])


def _move_over(source: Path, target: Path) -> None:
    """Move ``source`` to ``target``, and replace a ``target`` left by an attempt that was killed in its commit."""
    if target.is_dir():
        shutil.rmtree(target)
    source.rename(target)
