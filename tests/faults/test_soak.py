"""Sweep after sweep for hours, each struck at random every 30 to 90 seconds: none loses anything, nothing grows (K25).

SOAK_HOURS says for how long (4), SOAK_SEED which faults (0). Each sweep has a Ray of its own.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.faults.scorecard import Scorecard
from tests.helpers.faults.kills import Instant, Job, after_seconds, kill_driver, processes
from tests.helpers.faults.strikes import RANK
from tests.helpers.faults.twins import Twins

pytestmark = [pytest.mark.soak, pytest.mark.ray]

WORDS = ("cluster.kind=ray", "cluster.max_concurrent=1", "cluster.hang_seconds=15", "engine.checkpoint_seconds=5")
WORDS += ("tracking.uri=none", "tasks=[tiny_recall]", "seeds=[0]", "optim.epochs=400")


def send(number: signal.Signals, title: str) -> Callable[[Job, str], None]:
    """Return a fault: a signal to all processes of a sweep with this title."""

    def fault(job: Job, mark: str) -> None:
        for process in processes(mark, title):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    return fault


FAULTS: dict[str, Callable[[Job, str], object]] = {
    "K4 trainer killed": send(signal.SIGKILL, RANK),
    "K5 driver killed": kill_driver,
    "K7 head killed": send(signal.SIGKILL, "gcs_server"),
    "K11 trainer terminated": send(signal.SIGTERM, RANK),
    "K11 driver terminated": lambda job, mark: job.terminate(),
    "K12 trainer stopped": send(signal.SIGSTOP, RANK),
}


def test_sweeps_that_are_struck_for_hours_lose_nothing(tmp_path: Path, small_base: Path, scorecard: Scorecard) -> None:
    seed, hours = int(os.environ.get("SOAK_SEED", "0")), float(os.environ.get("SOAK_HOURS", "4"))
    drawn, end, sweeps = random.Random(seed), time.monotonic() + 3600 * hours, 0

    def strike(job: Job, mark: str) -> str:
        """Strike until the driver has ended, or the time is up."""
        struck = []
        while job.poll() is None and time.monotonic() < end:
            name = drawn.choice(sorted(FAULTS))
            FAULTS[name](job, mark)
            struck.append(name)
            scorecard.kills += "killed" in name
            sys.stderr.write(f"sweep {sweeps}: {name}\n")
            after_seconds(drawn.uniform(30, 90))(job)
        return ", ".join(struck)

    def instants() -> Instant:
        return after_seconds(drawn.uniform(30, 90))

    golden = Twins(tmp_path / "first", small_base, scorecard)
    golden.undisturbed(*WORDS)
    while time.monotonic() < end:
        sweeps += 1
        twins = Twins(tmp_path / str(sweeps), small_base, scorecard)
        twins.golden = golden.golden
        twins.compare(WORDS, iter(instants, None), strike, seed=seed, limit=3600)
        shutil.rmtree(tmp_path / str(sweeps))
    assert sweeps
