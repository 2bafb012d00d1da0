"""Run a job again and again, and disturb it at drawn instants, until it ends by itself."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import psutil

from tests.helpers.faults.nothing_lost import MARK, assert_no_orphans, marked
from tests.helpers.places import ROOT

Job = subprocess.Popen[str]
Instant = Callable[[Job], bool]
"""Waits for the instant at which a job is disturbed; False if the job has ended before."""
Disturb = Callable[[Job, str], str | None]
"""Disturbs a running job with this mark; returns what was done, or None where nothing could be done."""


@dataclass
class Score:
    """What was done to a job, and how it took it; ``recoveries`` are seconds from a disturbance to the next step."""

    disturbed: list[str] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    orphans_gone: list[float] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)
    output: str = ""


def until_done(
    words: Sequence[str],
    instants: Iterator[Instant],
    disturb: Disturb,
    *,
    sweep: Path,
    limit: float = 900.0,
    starts: int = 60,
) -> Score:
    """Start ``python WORDS``, and disturb it at an instant of each start; start again until it ends with 0.

    ``sweep`` is the folder of the job's sweep. AssertionError if a process is left behind, or if the job has not ended
    after ``limit`` seconds or so many starts.
    """
    score, end, struck = Score(), time.monotonic() + limit, None
    for _ in range(starts):
        with tempfile.TemporaryFile("w+") as log:
            job, mark = start(words, log)
            watch = Thread(target=_note_recovery, args=(job, sweep, struck, score), daemon=True)
            watch.start()
            instant, struck = next(instants, None), None
            if instant and instant(job) and (done := disturb(job, mark)):
                struck = time.monotonic()
                score.disturbed.append(done)
            job.wait(max(1.0, end - time.monotonic()))
            watch.join()
            log.seek(0)
            score.output = log.read()
        score.codes.append(job.returncode)
        score.orphans_gone.append(assert_no_orphans(mark))
        if job.returncode == 0:
            return score
        assert time.monotonic() < end, score
    raise AssertionError(f"not done after {starts} starts: {score}")


def start(words: Sequence[str], log: object) -> tuple[Job, str]:
    """Start ``python WORDS`` in a session of its own; return it and the mark that all its processes inherit."""
    mark = uuid.uuid4().hex
    job = subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env=os.environ | {MARK: mark, "OMP_NUM_THREADS": "1"},
        stdout=log,  # type: ignore[arg-type]
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    return job, mark


def at_steps(sweep: Path, steps: int) -> Instant:
    """Return the instant at which the runs of a sweep have done so many steps in all; machines differ in their pace."""

    def wait(job: Job) -> bool:
        while job.poll() is None:
            if steps_done(sweep) >= steps:
                return True
            time.sleep(0.05)
        return False

    return wait


def after_seconds(seconds: float) -> Instant:
    """Return the instant so many seconds after the start of a job."""

    def wait(job: Job) -> bool:
        with suppress(subprocess.TimeoutExpired):
            job.wait(seconds)
            return False
        return True

    return wait


def spread(sweep: Path, seed: int, kills: int, steps: int) -> Iterator[Instant]:
    """Yield instants at drawn numbers of steps, one in each of as many equal parts of the sweep's steps."""
    drawn = random.Random(seed)
    for number in range(kills):
        yield at_steps(sweep, (steps * number + drawn.randrange(steps)) // kills)


def steps_done(sweep: Path) -> int:
    """Return the logged steps of all runs, each step once."""
    most: dict[Path, int] = {}
    for log, lines in _logs(sweep).items():
        run = log.parent.parent
        most[run] = max(most.get(run, 0), lines)
    return sum(most.values())


def kill_driver(job: Job, mark: str) -> str:
    """Kill the driver's process."""
    job.send_signal(signal.SIGKILL)
    return "driver killed"


def processes(mark: str, words: str) -> list[psutil.Process]:
    """Return the marked processes whose title has these words."""
    chosen = []
    for process in marked(mark):
        with suppress(psutil.Error):
            if words in " ".join(process.cmdline()):
                chosen.append(process)
    return chosen


def job_words(recipe: Path, *values: str) -> list[str]:
    """Return the words after ``python`` of a sweep."""
    return ["jobs/sweep.py", str(recipe), *values]


def _logs(sweep: Path) -> dict[Path, int]:
    """Return how many steps each attempt has logged."""
    lines = {}
    for log in sweep.glob("runs/*/attempt-*/metrics.jsonl"):
        with suppress(FileNotFoundError):  # the attempt has just been removed
            lines[log] = log.read_bytes().count(b"\n")
    return lines


def _note_recovery(job: Job, sweep: Path, struck: float | None, score: Score) -> None:
    """Wait for the first step that a new attempt adds to its log, and note the seconds since ``struck``."""
    before, first = _logs(sweep), dict[Path, int]()
    while struck is not None and job.poll() is None:
        for log, lines in _logs(sweep).items():
            if log not in before and lines > first.setdefault(log, lines):
                score.recoveries.append(time.monotonic() - struck)
                return
        time.sleep(0.05)
