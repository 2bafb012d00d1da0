"""The folder of one run, ``runs/<key>/``: where the run stands, and what a sweep can trust after a crash.

Attempt n works in ``attempt-<n>/``. A run has ended when one of three files exists. ``COMMITTED.json``: the run has a
result; the file is created last, by one hard link, and names the attempt's folder and the sha256 of every file there.
``DIVERGED.json``: the loss stopped being finite, as it would again with the same seed. ``STOPPED.json``: the run was
beaten at a rung; the file names the rule.

What happens after Ctrl-C, a kill or a crash, when the same command is given again:

1. The kernel has released the lock of the first driver (`store.lease`). Runs at work have left ``attempt-<n>/``.
2. The second driver takes the lock, finds data and base in their caches, and plans the same runs with the same keys.
3. The second driver hashes every committed file again (`RunFolder.check`). A damaged end is set aside, so that its run
   is trained; many damaged ends stop the sweep, because then the storage is probably at fault (`store.damage`).
4. The second driver asks the search for the next round (`driver.rounds`). A run that has ended is never trained again,
   unless another search's rule had stopped the run.
5. A trainer begins attempt n + 1 (`RunFolder.begin`), which fences off attempt n: if the trainer of attempt n still
   lives, its commit raises FencedError, and the other runs of its pack go on. The new attempt goes on from the newest
   checkpoint of all attempts (`worker.resume`), in the pack of before (`plan.packs.packs_again`).
6. At a rung a run keeps the score and the verdict that it has there already (`search.rungs`), so the decision stands.
7. The tracker asks once which steps of each run it has, and sends the rest (`tracking.patient`).
"""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import objects
from orchestrator.control import RunEnd
from orchestrator.errors import DamagedRunError, FencedError
from orchestrator.files import make_folder, read_json, read_lines, sha256_of, sync_folder, write_json
from orchestrator.plan.runs import FORMAT
from orchestrator.store.attempt import Attempt
from orchestrator.store.ends import BEGUN, COMMITTED, ENDS, STOPPED, attempt_folder, end_of, newest_attempt, refresh
from orchestrator.store.manifest import artefact_folder, read_sealed


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    def begin(self, spec: Mapping[str, Any]) -> Attempt:
        """Open the next attempt, which fences off every earlier attempt. FencedError if the run has ended."""
        make_folder(self.path)
        refresh(self.path, lambda _: True)
        number = newest_attempt(self.path)
        while True:
            if self.ended():
                raise FencedError(f"{self.path} is {self.ended()} already.")
            number += 1
            if _is_opened_here(attempt_folder(self.path, number)):
                break
        write_json(self.path / "run.json", {"format": FORMAT, **spec})
        return Attempt(self.path, number)

    def ended(self) -> str | None:
        """Return "committed", "diverged" or "stopped"; None if the run has still to be trained."""
        return end_of(self.path)

    def row(self) -> dict[str, Any]:
        """Return the row of a run that has ended; DamagedRunError if the row cannot be read."""
        return dict(read_sealed(self.path / ENDS[self.ended() or "diverged"])["row"])

    def end(self) -> RunEnd:
        """Return the end of a run that has ended, as its trainer reports it; DamagedRunError if it cannot be read."""
        status = self.ended() or "diverged"
        manifest = read_sealed(self.path / ENDS[status])
        seal = str(manifest.get("seal", ""))
        return RunEnd(self.path.name, status, int(manifest.get("attempt", 0)), seal)

    def stopped_by(self) -> str | None:
        """Return the rule that stopped the run; None if the run was not stopped, or if its end cannot be read."""
        manifest = read_json(self.path / STOPPED) if self.ended() == "stopped" else None
        return str(manifest["rule"]) if isinstance(manifest, dict) and "rule" in manifest else None

    def reopen(self) -> None:
        """Take back a stop, so that the run is trained from its beginning. Other ends stay."""
        (self.path / STOPPED).unlink(missing_ok=True)
        objects.remove(self.path / STOPPED)
        sync_folder(self.path)

    @property
    def error(self) -> Path:
        """The file with the error of the last attempt that failed; it lies beside the run's folder."""
        return self.path.with_name(f"{self.path.name}.error.txt")

    def check(self) -> None:
        """Check the end of a run, if the run has ended: DamagedRunError if a file is not what was written."""
        if self.ended() == "committed":
            self.verify()
        elif self.ended():
            self.row()

    def verify(self) -> None:
        """Compare every committed file with its sha256; DamagedRunError names the first file that differs."""
        manifest = read_sealed(self.path / COMMITTED)
        files, folder = manifest.get("files"), artefact_folder(self.path, manifest)
        if not isinstance(files, dict) or not files:
            raise DamagedRunError(f"{self.path / COMMITTED} is no manifest.")
        for name, digest in files.items():
            file = folder / name
            if not file.is_file():
                raise DamagedRunError(f"{file} is missing.")
            if sha256_of(file) != digest:
                raise DamagedRunError(f"{file} is not what was committed.")

    def fetch_again(self) -> None:
        """Copy the run anew from the object store, if there is one: the near copy may be what is damaged."""
        if objects.key_of(self.path):
            objects.forget(self.path)
            refresh(self.path, lambda _: True)

    def discard(self) -> None:
        """Set a damaged end aside as ``<its name>.damaged-<n>``, so that the run is trained again."""
        for name in ENDS.values():
            if (self.path / name).exists():
                numbers = (number for number in itertools.count(1) if not self._aside(name, number).exists())
                aside = self._aside(name, next(numbers))
                (self.path / name).rename(aside)
                objects.put(aside)
                objects.remove(self.path / name)
        sync_folder(self.path)

    def artefact(self, name: str) -> Path:
        """Return the path of an artefact of the committed attempt (`attempt.ARTEFACTS`); nothing is checked."""
        return artefact_folder(self.path, read_json(self.path / COMMITTED)) / name

    def metrics(self) -> list[dict[str, Any]]:
        """Return the logged steps of the committed attempt; if the run is not committed, of the newest attempt."""
        if (self.path / COMMITTED).exists():
            return read_lines(self.artefact("metrics.jsonl"))
        number = newest_attempt(self.path)
        return read_lines(attempt_folder(self.path, number) / "metrics.jsonl") if number else []

    def _aside(self, name: str, number: int) -> Path:
        return self.path / f"{name}.damaged-{number}"


def _is_opened_here(attempt: Path) -> bool:
    """Open the attempt, unless another trainer has this number; its folder may not have been listed yet."""
    claim = {"claim": secrets.token_hex(8)}
    if not objects.create(attempt / BEGUN, json.dumps(claim).encode()):
        return False
    objects.forget(attempt)  # a rest of another store with the same address
    try:
        attempt.mkdir()
    except FileExistsError:
        return False
    return True
