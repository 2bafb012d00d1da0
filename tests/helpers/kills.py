"""Run a job again and again, and disturb it at random instants, until it ends by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.helpers.nothing_lost import MARK, assert_no_orphans, marked
from tests.helpers.places import ROOT

Instant = Callable[["subprocess.Popen[str]"], bool]
"""Waits for the instant at which a job is disturbed; False if the job has ended before."""
Disturb = Callable[["subprocess.Popen[str]", str], str | None]
"""Disturbs a running job with this mark; returns what was done, or None where nothing could be done yet."""


@dataclass
class Score:
    """What was done to a job, and how it took it."""

    disturbed: list[str] = field(default_factory=list)
    starts: int = 0
    seconds: float = 0.0
    orphans_gone: list[float] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    output: str = ""


def after_seconds(seconds: float) -> Instant:
    """Return the instant so many seconds after the start of a job."""

    def wait(job: subprocess.Popen[str]) -> bool:
        try:
            job.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    return wait


def at_steps(sweep: Path, steps: int) -> Instant:
    """Return the instant at which the runs of a sweep have done so many steps in all; machines differ in their pace."""

    def wait(job: subprocess.Popen[str]) -> bool:
        while job.poll() is None:
            if steps_done(sweep) >= steps:
                return True
            time.sleep(0.05)
        return False

    return wait


def steps_done(sweep: Path) -> int:
    """Return the logged steps of all runs, each step once."""
    most: dict[Path, int] = {}
    for log in sweep.glob("runs/*/attempt-*/metrics.jsonl"):
        with suppress(FileNotFoundError):  # the attempt has just been removed
            run = log.parent.parent
            most[run] = max(most.get(run, 0), log.read_bytes().count(b"\n"))
    return sum(most.values())


def kill_driver(job: subprocess.Popen[str], mark: str) -> str:
    """Kill the driver's process."""
    job.send_signal(signal.SIGKILL)
    return "driver killed"


def until_done(
    words: Sequence[str], instants: Iterator[Instant], disturb: Disturb, *, limit: float = 900.0, starts: int = 60
) -> Score:
    """Start ``python WORDS``, and disturb it at an instant of each start; start again until it ends with 0.

    AssertionError if a process is left behind, or if the job has not ended within ``limit`` seconds.
    """
    score, begin = Score(), time.monotonic()
    with ExitStack() as stack:
        while score.starts < starts:
            score.starts += 1
            mark = uuid.uuid4().hex
            log = stack.enter_context(tempfile.TemporaryFile("w+"))
            job = subprocess.Popen(
                [sys.executable, *words],
                cwd=ROOT,
                env=os.environ | {MARK: mark, "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            instant = next(instants, None)
            if instant and instant(job) and (done := disturb(job, mark)):
                score.disturbed.append(done)
            job.wait(limit)
            log.seek(0)
            score.output = log.read()
            score.codes.append(job.returncode)
            score.orphans_gone.append(assert_no_orphans(mark))
            score.seconds = time.monotonic() - begin
            if job.returncode == 0:
                return score
            assert score.seconds < limit, f"not done after {score.starts} starts:\n{score.output[-3000:]}"
    raise AssertionError(f"not done after {score.starts} starts:\n{score.output[-3000:]}")


def processes(mark: str, words: str) -> list[psutil.Process]:
    """Return the marked processes whose title has these words."""
    chosen = []
    for process in marked(mark):
        try:
            if words in " ".join(process.cmdline()):
                chosen.append(process)
        except psutil.Error:
            continue
    return chosen


def job_words(recipe: Path, *values: str) -> list[str]:
    return ["jobs/sweep.py", str(recipe), *values]
