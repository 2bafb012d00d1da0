"""One attempt at a run: its folder, and the atomic step by which the attempt ends the run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import objects
from orchestrator.errors import FencedError
from orchestrator.files import sha256_of, sync_file, sync_folder, write_json
from orchestrator.store.ends import (
    BEGUN,
    CHECKPOINTS,
    COMMITTED,
    DIVERGED,
    STOPPED,
    attempt_folder,
    end_of,
    is_mark,
    newest_attempt,
    refresh,
)
from orchestrator.store.manifest import FOLDER, sealed

ARTEFACTS = ("adapter", "metrics.jsonl", "predictions.jsonl")
"""The names in an attempt's folder that a commit keeps; the commit deletes all other names but BEGUN there."""


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

        The artefacts stay in the attempt's folder, and the manifest names that folder: one hard link is the whole
        commit. FencedError if a later attempt has begun, or if the run has ended.
        """
        self._check_not_fenced()
        try:
            files = self._durable_artefacts()
        except FileNotFoundError:  # another trainer has committed meanwhile, and has removed this attempt's folder
            self._check_not_fenced()
            raise
        manifest = {"attempt": self.number, FOLDER: self.path.name, "row": dict(row), "files": files}
        seal = self._end(COMMITTED, manifest)
        with suppress(OSError):  # what follows is for people and for the room on the disk
            self._tidy()
        return seal

    def diverge(self, row: Mapping[str, Any]) -> str:
        """End the run as diverged: without an adapter, and no driver trains it again. FencedError as in `commit`.

        The checkpoints go, because they lead to the same end.
        """
        self._check_not_fenced()
        self._put_log()
        seal = self._end(DIVERGED, {"attempt": self.number, "row": dict(row)})
        self._remove_checkpoints()
        return seal

    def stop(self, row: Mapping[str, Any], rule: str) -> str:
        """End the run as stopped by ``rule``: the run has no adapter, and a sweep with the same rule trains it no more.

        FencedError as in `commit`. The checkpoints go, because a sweep with another rule judges the run at other steps.
        """
        self._check_not_fenced()
        self._put_log()
        seal = self._end(STOPPED, {"attempt": self.number, "row": dict(row), "rule": rule})
        self._remove_checkpoints()
        return seal

    def _durable_artefacts(self) -> dict[str, str]:
        """Make every artefact durable, in an object store too; return the sha256 of each file by its name."""
        digests: dict[str, str] = {}
        for name in ARTEFACTS:
            (self.path / name).stat()  # an artefact that is missing ends the attempt here
            for file in sorted(path for path in [self.path / name, *(self.path / name).rglob("*")] if path.is_file()):
                sync_file(file)
                objects.put(file)
                digests[str(file.relative_to(self.path))] = sha256_of(file)
        sync_folder(self.path / "adapter")
        return digests

    def _remove_checkpoints(self) -> None:
        for number in range(1, self.number + 1):
            checkpoints = attempt_folder(self.run, number) / CHECKPOINTS
            objects.remove(checkpoints)
            shutil.rmtree(checkpoints, ignore_errors=True)

    def _put_log(self) -> None:
        log = self.path / "metrics.jsonl"
        if log.is_file():
            objects.put(log)

    def _check_not_fenced(self) -> None:
        refresh(self.run, is_mark)
        newest, end = newest_attempt(self.run), end_of(self.run)
        if newest > self.number or end:
            raise FencedError(
                f"{self.run}: attempt {self.number} must not commit: "
                + (f"the run is {end}." if end else f"attempt {newest} has begun.")
            )

    def _end(self, name: str, manifest: Mapping[str, Any]) -> str:
        """Create the file that ends the run, and return its seal.

        The file is linked, not renamed: a rename would replace the end that another machine has written meanwhile, but
        a hard link fails where the name exists. So a run ends once, and no lock is needed. The draft stays: it says
        that this attempt has ended, also when the end is taken back later.
        """
        draft = self.path / name
        content = sealed(manifest)
        try:
            write_json(draft, content)
            if objects.key_of(self.run):
                self._end_far(draft)
            else:
                os.link(draft, self.run / name)
        except FileExistsError:
            if not draft.samefile(self.run / name):  # NFS sends a link again whose answer was lost, and then it exists
                raise FencedError(f"{self.run} has been ended by another trainer.") from None
        except FileNotFoundError:
            self._check_not_fenced()
            raise
        sync_folder(self.run)
        return str(content["seal"])

    def _end_far(self, draft: Path) -> None:
        """Create the object that ends the run, and then its near copy, which another process may have fetched already.

        FencedError if the object is there.
        """
        end = self.run / draft.name
        if not objects.create(end, draft.read_bytes()):
            raise FencedError(f"{self.run} has been ended by another trainer.")
        copy = self.path / f".{draft.name}"
        os.link(draft, copy)
        copy.replace(end)

    def _tidy(self) -> None:
        """Keep the artefacts alone, and point to them from the run's folder, where people look for them."""
        for number in range(1, self.number):
            objects.remove(attempt_folder(self.run, number))
            shutil.rmtree(attempt_folder(self.run, number), ignore_errors=True)
        for rest in self.path.iterdir():
            if rest.name not in (*ARTEFACTS, COMMITTED, BEGUN):
                objects.remove(rest)
                _remove(rest)
        for name in ARTEFACTS:
            pointer = self.path / f".to-{name}"
            pointer.symlink_to(Path(self.path.name) / name)
            if (self.run / name).is_dir() and not (self.run / name).is_symlink():  # an artefact of the old layout
                shutil.rmtree(self.run / name)
            pointer.replace(self.run / name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
