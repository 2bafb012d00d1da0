"""Measure a night: score the anchors, train the canary and the night's own seeds, and write down what came of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from d2lora.formats.directory import TENSORS
from orchestrator.files import read_lines
from orchestrator.machine.code import own_commit
from orchestrator.nightly.anchors import score_anchors
from orchestrator.nightly.canary import canary_of, fresh_of, settings_digest
from orchestrator.nightly.record import write_measured
from orchestrator.nightly.tonight import Tonight
from orchestrator.nightly.training import train_apart
from orchestrator.nightly.world import mixed, world_of
from orchestrator.store.ends import COMMITTED
from orchestrator.store.manifest import read_sealed
from orchestrator.store.rows import FINAL
from orchestrator.store.run_folder import RunFolder
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.verdict.night import CanaryRun, Night

Row = dict[str, Any]
MEGABYTE = 10**6


@dataclass(frozen=True)
class Measured:
    """The night as it was measured, the rows of its own sweeps, and per fixed run ``(task, method, seed)`` its losses.

    ``faults`` are the runs that failed, a line each. What they mean for the night, the verdict says.
    """

    night: Night
    rows: list[Row]
    losses: dict[tuple[str, str, int], list[float]]
    faults: list[str]


def measure(tonight: Tonight) -> Measured:
    """Measure the night and write ``measured.json`` and ``losses.json``. Started again it trains only what is missing.

    InputError if the cluster cannot be used.
    """
    spec, ready, folder = tonight.spec, tonight.ready, tonight.folder
    scored = score_anchors(tonight)
    canary = train_apart(tonight, canary_of(spec, folder))
    of_night = fresh_of(spec, folder)
    fresh = train_apart(tonight, of_night) if of_night else []
    broken = list(scored.faults)
    if why := mixed([*canary, *fresh], scored.surroundings):
        broken.append(f"{why}; delete {folder.path} and start the night again")
    night = Night(
        name=folder.name,
        world=world_of(
            canary,
            scored.surroundings,
            base=ready.base.fingerprint,
            data=ready.fingerprints,
            settings=settings_digest(spec),
            commit=own_commit(),
        ),
        runs=[*runs_of(canary, folder.canary, fresh=False), *runs_of(fresh, folder.fresh, fresh=True)],
        anchors=scored.anchors,
        broken="; ".join(broken),
    )
    losses = {(row["task"], row["method"], row["seed"]): _losses(folder.canary.run(row["run_key"])) for row in canary}
    write_measured(folder, night, losses)
    faults = [*faults_of(canary, folder.canary), *faults_of(fresh, folder.fresh)]
    return Measured(night, [*canary, *fresh], losses, faults)


def runs_of(rows: Sequence[Row], folder: SweepFolder, *, fresh: bool) -> list[CanaryRun]:
    """Return the runs of these rows of results, with what their run folders in ``folder`` hold."""
    return [_run(row, folder.run(row["run_key"]), fresh) for row in rows]


def faults_of(rows: Sequence[Row], folder: SweepFolder) -> list[str]:
    """Return a line per run that has no end. A diverged run has one: what it means, the verdict says."""
    return [
        f"the run {row['method']} on {row['task']}, seed {row['seed']}, failed: {_last_line(row.get('error'))} "
        f"(details: {folder.run(row['run_key']).error})"
        for row in rows
        if row["status"] not in FINAL
    ]


def digest_of(adapter: str, losses: Sequence[float], predictions: str) -> str:
    """Return 16 hexadecimal digits over a run: the sha256 of adapter and predictions, and the losses, exactly."""
    return hashlib.sha256(json.dumps([adapter, list(losses), predictions]).encode()).hexdigest()[:16]


def right_of(predictions: Sequence[Row]) -> str:
    """Return "1" or "0" per test item."""
    return "".join("1" if row["predicted"] == row["answer"] else "0" for row in predictions)


def _run(row: Row, folder: RunFolder, fresh: bool) -> CanaryRun:
    right = digest = ""
    if row["status"] == "committed":
        files = read_sealed(folder.path / COMMITTED)["files"]
        right = right_of(read_lines(folder.artefact("predictions.jsonl")))
        digest = digest_of(files[f"adapter/{TENSORS}"], _losses(folder), files["predictions.jsonl"])
    elif row["status"] == "diverged":
        digest = digest_of("diverged", _losses(folder), "")
    megabytes = (row.get("trainer") or {}).get("peak_memory_megabytes")
    return CanaryRun(
        task=row["task"],
        method=row["method"],
        seed=row["seed"],
        fresh=fresh,
        status=row["status"],
        run_key=row["run_key"],
        digest=digest,
        right=right,
        eval_loss=row.get("eval_loss"),
        seconds=row.get("train_seconds"),
        bytes=None if megabytes is None else round(megabytes * MEGABYTE),
    )


def _losses(folder: RunFolder) -> list[float]:
    """Return the logged loss of each step; a step whose loss is not finite has none."""
    return [row["train_loss"] for row in folder.metrics() if "train_loss" in row]


def _last_line(error: Any) -> str:
    return (str(error or "").strip().splitlines() or ["no reason is written"])[-1]
