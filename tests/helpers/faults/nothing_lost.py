"""What a sweep must have after any fault, nothing lost and nothing twice: checks of its folder and its machine."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from orchestrator.store.run_folder import RunFolder
from orchestrator.store.sweep_folder import SweepFolder
from tests.helpers.sweeps import unmeasured

MARK = "SWEEP_OF_A_TEST"
"""The environment variable that all processes of a test's sweep inherit."""
GONE_SECONDS = 30.0  # after this time no process of a sweep that has ended is left


def assert_nothing_lost(sweep: Path, undisturbed: Path) -> None:
    """Compare a sweep that was disturbed with the same sweep undisturbed: run keys, adapters, logs, rows and champions.

    Every run has ended once and in the same way, with the adapter of the undisturbed run to the last bit, each step
    logged once, and the same row but for times, memory, makers and ``resumed``. So a search has decided the same.
    """
    folders = {path.name: RunFolder(path) for path in runs_of(sweep)}
    golden = {path.name: RunFolder(path) for path in runs_of(undisturbed)}
    assert folders.keys() == golden.keys()
    for key, run in folders.items():
        assert run.ended() == golden[key].ended() is not None, key
        run.check()
        if run.ended() == "committed":
            assert sha256_of_adapter(run) == sha256_of_adapter(golden[key]), key
        assert _steps(run) == _steps(golden[key]), key
        assert _row(run.row()) == _row(golden[key].row()), key
        assert not list(run.path.rglob(".tmp-*")), key
    assert _rows(sweep) == _rows(undisturbed)
    assert summary_of(sweep) == summary_of(undisturbed)


def runs_of(sweep: Path) -> list[Path]:
    return sorted(path for path in SweepFolder(sweep).runs.iterdir() if path.is_dir())


def sha256_of_adapter(run: RunFolder) -> str:
    (adapter,) = run.artefact("adapter").glob("*.safetensors")
    return hashlib.sha256(adapter.read_bytes()).hexdigest()


def resumed(sweep: Path) -> dict[str, list[int]]:
    """Return the steps from which each run went on, by run key."""
    return {path.name: RunFolder(path).row()["resumed"] for path in runs_of(sweep)}


def marked(mark: str) -> Iterator[psutil.Process]:
    """Yield the processes that have inherited the mark."""
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except psutil.Error:
            continue


def assert_no_orphans(mark: str) -> float:
    """Wait until no process with the mark is left; return the seconds it took, AssertionError after GONE_SECONDS."""
    begin = time.monotonic()
    while left := [f"{process.pid} {process.name()}" for process in marked(mark)]:
        assert time.monotonic() - begin < GONE_SECONDS, left
        time.sleep(0.2)
    return time.monotonic() - begin


def _steps(run: RunFolder) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "time"} for row in run.metrics()]


MEASURED = ("mlflow_run_id",)


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in unmeasured(row).items() if name not in MEASURED}


def _rows(sweep: Path) -> list[dict[str, Any]]:
    lines = (sweep / "results.jsonl").read_text().splitlines()
    return [_row(json.loads(line)) for line in lines]


def summary_of(sweep: Path) -> Any:
    """Return the statistics of a sweep without what is measured by a clock."""
    return _without_seconds(json.loads((sweep / "summary.json").read_text()))


def _without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_seconds(part) for name, part in value.items() if "seconds" not in name}
    return [_without_seconds(part) for part in value] if isinstance(value, list) else value
