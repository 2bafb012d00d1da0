"""The checkpoint of a run: one lane after one of its steps, with everything that the lane needs to go on (ADR 35).

``attempt-<n>/checkpoints/<step>/`` holds ``lane.safetensors`` (adapter and AdamW's moments), ``metrics.jsonl`` (the log
of all steps so far) and, written last, ``CHECKPOINT.json``: the sha256 of both files, sealed. A folder without the
manifest is no checkpoint. Worker, ZeRO stage, pack and device do not show in a checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from orchestrator import objects
from orchestrator.errors import DamagedCheckpointError, RunError
from orchestrator.files import make_folder, write_bytes, write_json
from orchestrator.store.ends import CHECKPOINTS, attempt_folder, newest_attempt
from orchestrator.store.manifest import seal_of, sealed

_log = logging.getLogger(__name__)
TENSORS, LOG, MANIFEST = "lane.safetensors", "metrics.jsonl", "CHECKPOINT.json"
FORMAT = 1
KEPT = 2  # how many checkpoints of a run are kept, the newest: if the newest is damaged, the older is used
AGAIN_SECONDS = (0.1, 1.0)  # the pauses before a checkpoint that cannot be read is read again
ADAPTER, FIRST, SECOND = "adapter/", "first/", "second/"  # the beginnings of the names of tensors


@dataclass(frozen=True)
class Checkpoint:
    """A lane after ``step`` steps.

    ``together`` are the keys of all runs that were saved at the same time, this run among them. ``adapter`` and both
    moments of AdamW (``first``, ``second``) have the same names and shapes; ``updates`` is how often AdamW has updated
    the lane. ``log`` is the content of metrics.jsonl, ``seconds`` and ``cpu_seconds`` are the times that the steps
    took, without work that was lost, and ``resumed`` are the steps from which earlier attempts went on. ``leaving`` are
    the keys of the runs that diverged in this very step, ``makers`` what made the steps so far (`worker.made_by`).
    """

    run_key: str
    step: int
    together: tuple[str, ...]
    adapter: Mapping[str, Tensor]
    first: Mapping[str, Tensor]
    second: Mapping[str, Tensor]
    updates: int
    log: bytes
    seconds: float
    cpu_seconds: float = 0.0
    peak_megabytes: float = 0.0
    resumed: tuple[int, ...] = ()
    leaving: tuple[str, ...] = ()
    makers: tuple[Mapping[str, Any], ...] = ()

    @property
    def figures(self) -> Checkpoint:
        """This checkpoint without its tensors, which need much memory."""
        return replace(self, adapter={}, first={}, second={})

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The logged steps."""
        return [json.loads(line) for line in self.log.splitlines()]


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint on disk that has its manifest; whether its files are whole is not known before `verified`.

    ``together`` are the runs that were saved at the same time, ``leaving`` those that diverged in the same step; both
    are known after `verified`.
    """

    path: Path
    together: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        """The number of steps that the run had done."""
        return int(self.path.name)

    def verified(self, run_key: str) -> StoredCheckpoint:
        """Return this checkpoint of the run, with ``together``; DamagedCheckpointError unless it is what was written.

        The files are hashed one after another, so that not all checkpoints of a pack are in memory at once.
        """
        manifest = self._manifest(run_key)
        for name, digest in manifest["files"].items():
            self._bytes(name, digest)
        return StoredCheckpoint(self.path, tuple(manifest["together"]), tuple(manifest["leaving"]))

    def read(self, run_key: str) -> Checkpoint:
        """Return the content; DamagedCheckpointError if anything is not what was written."""
        manifest = self._manifest(run_key)
        files = {name: self._bytes(name, digest) for name, digest in manifest["files"].items()}
        try:
            tensors = load(files[TENSORS])
        except (KeyError, SafetensorError, ValueError) as error:
            raise self._damaged(f"{TENSORS} cannot be read ({error})") from error
        parts = {
            begin: {name.removeprefix(begin): tensor for name, tensor in tensors.items() if name.startswith(begin)}
            for begin in (ADAPTER, FIRST, SECOND)
        }
        numbers = {name: manifest[name] for name in ("step", "updates", "seconds", "cpu_seconds", "peak_megabytes")}
        return Checkpoint(
            run_key, together=tuple(manifest["together"]), adapter=parts[ADAPTER], first=parts[FIRST],
            second=parts[SECOND], log=files[LOG], resumed=tuple(manifest["resumed"]),
            leaving=tuple(manifest["leaving"]), makers=tuple(manifest["makers"]), **numbers,
        )  # fmt: skip

    def _manifest(self, run_key: str) -> dict[str, Any]:
        try:
            manifest = json.loads((self.path / MANIFEST).read_bytes())
        except (FileNotFoundError, ValueError) as error:
            raise self._damaged(f"{MANIFEST} cannot be read ({error})") from error
        if not isinstance(manifest, dict) or manifest.get("seal") != seal_of(manifest):
            raise self._damaged(f"{MANIFEST} does not fit its seal")
        if (manifest["format"], manifest["run_key"], manifest["step"]) != (FORMAT, run_key, self.step):
            raise self._damaged(f"{MANIFEST} is of another run, step or format")
        return manifest

    def _bytes(self, name: str, digest: str) -> bytes:
        """Return the content of a file, after comparing these very bytes with their sha256."""
        try:
            content = (self.path / name).read_bytes()
        except FileNotFoundError as error:
            raise self._damaged(f"{name} is missing") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise self._damaged(f"{name} is not what was written")
        return content

    def _damaged(self, what: str) -> DamagedCheckpointError:
        return DamagedCheckpointError(f"The checkpoint {self.path} is not used: {what}.")


def write_checkpoint(attempt: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint into the folder of an attempt, durably, its manifest last; OSError if the disk fails.

    Afterwards the run has its two newest checkpoints: older ones of this attempt and of earlier attempts are removed.
    """
    attempt.stat()  # FileNotFoundError: another trainer has committed the run, and has removed this attempt
    place = attempt / CHECKPOINTS / f"{checkpoint.step:08d}"
    make_folder(place)
    tensors = {
        begin + name: tensor.contiguous()
        for begin, part in ((ADAPTER, checkpoint.adapter), (FIRST, checkpoint.first), (SECOND, checkpoint.second))
        for name, tensor in part.items()
    }
    files = {TENSORS: save(tensors), LOG: checkpoint.log}
    for name, content in files.items():
        write_bytes(place / name, content)
    manifest = {
        "format": FORMAT,
        "run_key": checkpoint.run_key,
        "step": checkpoint.step,
        "updates": checkpoint.updates,
        "seconds": checkpoint.seconds,
        "cpu_seconds": checkpoint.cpu_seconds,
        "peak_megabytes": checkpoint.peak_megabytes,
        "resumed": list(checkpoint.resumed),
        "together": list(checkpoint.together),
        "leaving": list(checkpoint.leaving),
        "makers": [dict(maker) for maker in checkpoint.makers],
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    write_json(place / MANIFEST, sealed(manifest))
    for name in (*files, MANIFEST):
        objects.put(place / name)
    number = int(attempt.name.removeprefix("attempt-"))
    for old in list(stored_checkpoints(attempt.parent, up_to=number))[KEPT:]:
        remove_checkpoint(old.path)


def remove_checkpoint(place: Path) -> None:
    """Remove a checkpoint, its manifest first, so that what is left after a kill is no checkpoint."""
    (place / MANIFEST).unlink(missing_ok=True)
    objects.remove(place / MANIFEST)
    objects.remove(place)
    shutil.rmtree(place, ignore_errors=True)


def stored_checkpoints(run: Path, up_to: int | None = None) -> Iterator[StoredCheckpoint]:
    """Yield the checkpoints in the folder of a run, the newest step first, of all attempts or those ``up_to`` one."""
    attempts = range(1, (newest_attempt(run) if up_to is None else up_to) + 1)
    places = [place for number in attempts for place in (attempt_folder(run, number) / CHECKPOINTS).glob("*")]
    whole = [StoredCheckpoint(place) for place in places if place.name.isdigit() and (place / MANIFEST).exists()]
    yield from sorted(whole, key=lambda stored: (stored.step, int(stored.path.parts[-3][8:])), reverse=True)


def sound_checkpoints(run: Path, run_key: str) -> dict[int, StoredCheckpoint]:
    """Return the checkpoints of a run that are what was written, by step, the newest first.

    A damaged one is read again, from the object store if there is one; then it is logged and set aside under the name
    ``<step>.damaged``, so that it counts no more among the checkpoints that are kept. RunError if a file cannot be read
    for another reason: a file system that fails has damaged nothing.
    """
    sound: dict[int, StoredCheckpoint] = {}
    for stored in stored_checkpoints(run):
        if stored.step in sound:
            continue
        try:
            sound[stored.step] = _verified_at_last(stored, run_key)
        except DamagedCheckpointError as error:
            _log.warning("%s An earlier checkpoint is used, or the run begins anew.", error)
            objects.remove(stored.path)
            with suppress(OSError):
                stored.path.rename(stored.path.with_name(f"{stored.path.name}.damaged"))
    return sound


def _verified_at_last(stored: StoredCheckpoint, run_key: str) -> StoredCheckpoint:
    for pause in AGAIN_SECONDS:
        try:
            return stored.verified(run_key)
        except (DamagedCheckpointError, OSError) as error:
            _log.info("The checkpoint %s is read again: %s", stored.path, error)
            time.sleep(pause)
            objects.forget(stored.path)
            objects.fetch(stored.path)
    try:
        return stored.verified(run_key)
    except OSError as error:
        raise RunError(
            f"The checkpoint {stored.path} cannot be read ({error.strerror or error}). Mend the storage and give the "
            "same command, or delete that folder: the run then goes on from an earlier checkpoint."
        ) from error
