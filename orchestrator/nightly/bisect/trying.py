"""Try a candidate: train the cell by the candidate's own ``jobs/sweep.py`` in another process, and read its results."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import HeldError
from orchestrator.files import make_folder, read_lines
from orchestrator.machine.code import COMMIT
from orchestrator.nightly.bisect.candidates import Candidate
from orchestrator.nightly.bisect.trees import sources_of
from orchestrator.paths import HOME, root
from orchestrator.store.rows import right_of
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.verdict.oracle import Tried, TriedRun

HELD, HELD_SECONDS = 75, 120.0  # for so long the process of a killed bisection may still be at work
GRACE_SECONDS = 60.0
NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "RAY_ADDRESS", "VIRTUAL_ENV")
DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux' prctl


@dataclass(frozen=True)
class Bench:
    """Where candidates are tried: ``folder`` is the bisection's, ``recipe`` the file with the recipe of the cell."""

    folder: Path
    recipe: Path
    code: Path

    def log(self, candidate: Candidate) -> Path:
        """Return the file with all that the candidate's process printed."""
        return self.folder / "logs" / f"{candidate.key}.log"

    def sweep(self, candidate: Candidate) -> SweepFolder:
        """Return the folder of the candidate's sweep."""
        return SweepFolder(self.folder / candidate.key)


def train(candidate: Candidate, bench: Bench, limit: float) -> str:
    """Train the cell under a candidate, for ``limit`` seconds at most; return why there is no result, "" if there is.

    KeyboardInterrupt ends the candidate's process, which saves its runs. HeldError if the process of a bisection that
    was killed still trains the candidate.
    """
    make_folder(bench.folder / "logs")
    end = time.monotonic() + limit
    with sources_of(candidate.commit, bench.folder / "trees" / candidate.key, bench.code) as sources:
        script = sources / "jobs" / "sweep.py"
        if not script.is_file():
            return "it has no jobs/sweep.py"
        words = [candidate.python, str(script), str(bench.recipe)]
        words += [f"name={candidate.key}", f"storage={bench.folder}"]
        held = time.monotonic() + HELD_SECONDS
        while True:
            code = _run(words, sources, _environment(candidate), bench.log(candidate), end - time.monotonic())
            if code != HELD or time.monotonic() > held:
                break
            time.sleep(1.0)
    if code == HELD:
        raise HeldError(f"{bench.sweep(candidate).path} is in use: {_last_line(bench.log(candidate))}")
    if code == 0:
        return ""
    if code is None:
        return f"it took longer than {limit:.0f} s ({bench.log(candidate)})"
    return f"it ended with {code}: {_last_line(bench.log(candidate))} ({bench.log(candidate)})"


def results(sweep: SweepFolder, seeds: Collection[int], method: str | None = None, seconds: float = 0.0) -> Tried:
    """Return the results of a candidate's sweep: of the runs of one method, or of all runs if no method is named.

    Only what every version of this project leaves is read (results.jsonl, predictions, logs of steps).
    """
    rows = [row for row in read_lines(sweep.results) if method in (None, row["method"])]
    by_seed = {row["seed"]: row for row in rows if row["status"] in ("committed", "diverged")}
    lacking = [seed for seed in seeds if seed not in by_seed]
    if lacking:
        row: Mapping[str, Any] = next((row for row in rows if row["seed"] == lacking[0]), {})
        said = (str(row.get("error") or "").strip().splitlines() or ["it has no row"])[-1]
        return Tried((), f"seed {lacking[0]} has no result: {said}", seconds)
    return Tried(tuple(_tried(sweep, by_seed[seed]) for seed in sorted(seeds)), "", seconds)


def _tried(sweep: SweepFolder, row: Mapping[str, Any]) -> TriedRun:
    rows = read_lines(sweep.predictions(row["run_key"])) if row["status"] == "committed" else []
    losses = [step.get("train_loss") for step in sweep.run(row["run_key"]).metrics()]
    content = [row["status"], losses, [[each["index"], each["predicted"], each["scores"]] for each in rows]]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    return TriedRun(int(row["seed"]), str(row["status"]), digest, right_of(rows))


def _environment(candidate: Candidate) -> dict[str, str]:
    """Return the environment of a candidate's process: this one's, without what would lead to other sources."""
    kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    commit = {} if candidate.commit is None else {COMMIT: candidate.commit}
    return {**kept, **commit, HOME: str(root())}


def _run(words: list[str], folder: Path, environment: Mapping[str, str], log: Path, limit: float) -> int | None:
    """Run a command with its output in ``log``; return its exit code, None if it was ended after ``limit`` seconds."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - one system call, which takes no lock
        )
        try:
            return process.wait(max(0.0, limit))
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that still lives: it may save its runs first."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_with_parent() -> None:
    """Ask Linux to end this process when the bisection is killed, so that it does not train on for nobody."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(DIES_WITH_PARENT, signal.SIGTERM)


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it printed nothing"
