"""Real nights under fire: killed at any instant, started twice, replayed; and five nights of the real recipe."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.faults.scorecard import Scorecard
from tests.helpers import planted
from tests.helpers.night_sweeps import Nights
from tests.helpers.places import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.rare]

SITE = ROOT / "tests" / "helpers" / "planted" / "site"
TIMED = ("seconds", "train_seconds", "slower", "memory", "change_points", "usd")
"""What of a ``night.json`` is measured with a clock, or with what else the machine does."""


def start(recipe: Path, *words: str, kind: str = "", more: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a night in a process of its own, with a change planted under its code."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{SITE}", "D2LORA_PLANTED": kind, **(more or {})}
    command = [sys.executable, "jobs/nightly.py", str(recipe), *words]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def run(recipe: Path, *words: str, kind: str = "", more: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a night to its end; return its exit code and what was printed."""
    process = start(recipe, *words, kind=kind, more=more)
    printed, _ = process.communicate(timeout=1200)
    return process.returncode, printed


def unmeasured(value: Any) -> Any:
    """Return the content of a ``night.json`` without what a clock decides."""
    if isinstance(value, dict):
        return {key: unmeasured(one) for key, one in value.items() if key not in (*TIMED, "cost", "seal")}
    return [unmeasured(one) for one in value] if isinstance(value, list) else value


@pytest.mark.timeout(3600)
def test_a_night_that_is_killed_at_any_instant_ends_as_if_it_had_not_been(
    tmp_path: Path, small_base: Path, scorecard: Scorecard
) -> None:
    """The night is one on which a bug is planted, so that every part of it has work: also confirmation and telling."""
    nights = Nights(tmp_path, small_base)
    assert run(nights.recipe, "night=2026-11-01")[0] == 0
    before = tmp_path / "before"
    shutil.copytree(nights.folder.path.parent, before, symlinks=True)
    begin = time.monotonic()
    code, printed = run(nights.recipe, "night=2026-11-02", kind=planted.BUG)
    assert (code, nights.of("2026-11-02")["verdict"]) == (1, "worse"), printed
    took, golden = time.monotonic() - begin, unmeasured(nights.of("2026-11-02"))
    rng = random.Random(19)
    scorecard.seeds.add(19)
    for trial in range(10):
        shutil.rmtree(nights.folder.path.parent)
        shutil.copytree(before, nights.folder.path.parent, symlinks=True)
        (tmp_path / "told").unlink(missing_ok=True)
        for _ in range(2):
            process = start(nights.recipe, "night=2026-11-02", kind=planted.BUG)
            try:
                process.communicate(timeout=rng.uniform(0.2, 1.0) * took)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                scorecard.kills += 1
        code, printed = run(nights.recipe, "night=2026-11-02", kind=planted.BUG)
        assert code == 1, (trial, printed)
        assert unmeasured(nights.of("2026-11-02")) == golden, trial
        ids = [message["id"] for message in nights.told()]
        assert 1 <= len(ids) <= 3, ids  # killed while it tells, it tells again, under the same id
        assert len(set(ids)) == 1


@pytest.mark.timeout(3600)
def test_of_two_nights_started_together_one_works_and_the_other_names_it(tmp_path: Path, small_base: Path) -> None:
    words = ("nightly.canary.fresh=0", "nightly.canary.methods=1", "nightly.canary.seeds=1", "champions=false")
    nights = Nights(tmp_path, small_base, words)
    for day in range(1, 21):
        both = [start(nights.recipe, *words, f"night=2026-10-{day:02d}") for _ in range(2)]
        ended = [(process.communicate(timeout=600)[0], process.returncode) for process in both]
        codes = sorted(code for _, code in ended)
        assert codes == [0, 75], ended
        refused = next(printed for printed, code in ended if code == 75)
        worker = next(process.pid for process, (_, code) in zip(both, ended, strict=True) if code == 0)
        assert f"is in use by process {worker} on " in refused
    assert len(nights.folder.nights) == 20
    code, printed = run(nights.recipe, *words, "night=2026-10-19")
    assert code == 75
    assert "2026-10-19 is older than the night 2026-10-20" in printed
