"""A wall clock that is set while a sweep trains changes no result, no order of steps and no end in MLflow (K19)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.store.run_folder import RunFolder
from tests.helpers.faults.kills import Job, at_steps
from tests.helpers.faults.nothing_lost import runs_of
from tests.helpers.faults.tracked_once import assert_tracked_once
from tests.helpers.faults.twins import Twins

pytestmark = [
    pytest.mark.slow,
    pytest.mark.rare,
    pytest.mark.skipif(shutil.which("cc") is None or sys.platform != "linux", reason="needs a C compiler and Linux"),
]

HOUR = 3600
JUMPS = {"a day ahead": 24 * HOUR, "an hour back": -HOUR, "ten years back": -87_600 * HOUR}
LONG = ("tasks=[tiny_recall]", "seeds=[0]", "engine.checkpoint_seconds=2", "optim.epochs=60")


@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("then", ["goes on", "is killed"])
def test_a_clock_that_jumps_changes_nothing(
    twins: Twins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: str, then: str
) -> None:
    steps = twins.undisturbed(*LONG)
    shim, clock = tmp_path / "wall_clock.so", tmp_path / "clock"
    source = Path(__file__).with_name("wall_clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", shim, source, "-ldl"], check=True)
    clock.write_text("0\n")
    monkeypatch.setenv("LD_PRELOAD", str(shim))
    monkeypatch.setenv("WALL_CLOCK", str(clock))

    def disturb(job: Job, mark: str) -> str:
        clock.write_text(f"{JUMPS[jump]}\n")
        if then == "is killed":
            job.kill()
        return jump

    score = twins.compare(LONG, iter([at_steps(twins.disturbed, steps // 2)]), disturb, seed=19)
    twins.scorecard.kills += len(score.disturbed) if then == "is killed" else 0
    assert score.disturbed == [jump]
    times = [step["time"] / 1000 for path in runs_of(twins.disturbed) for step in RunFolder(path).metrics()]
    assert max(times) - min(times) > abs(JUMPS[jump]) / 2  # the clock did jump
    assert_tracked_once(f"sqlite:///{twins.disturbed.parents[1]}/mlflow.db", twins.disturbed)
