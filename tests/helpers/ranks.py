"""Start the ranks of one world as processes, for tests of engines, and wait for all of them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from tests.helpers.places import ROOT

IDLE_SECONDS = 180.0
"""Ranks hang if all of them together use less than 1/200 of the CPU time of one core for so many seconds."""


def run_ranks(module: str, words: Sequence[Sequence[object]], idle_seconds: float = IDLE_SECONDS) -> None:
    """Run ``python -m module`` once per rank, with the words of each rank; return when all ranks have ended.

    AssertionError, with the exit codes and the ends of all logs, as soon as one rank has failed or all ranks hang. The
    time of a clock has no limit, because ranks that share the machine with other work are slow without hanging. No
    rank outlives the call.
    """
    with TemporaryDirectory() as folder, ExitStack() as stack:
        logs = [Path(folder) / f"rank{rank}.log" for rank in range(len(words))]
        ranks = [
            psutil.Popen(
                [sys.executable, "-W", "ignore", "-m", module, *map(str, words_of_rank)],
                cwd=ROOT,
                stdout=stack.enter_context(log.open("wb")),
                stderr=subprocess.STDOUT,
            )
            for words_of_rank, log in zip(words, logs, strict=True)
        ]
        try:
            hanging = _wait(ranks, idle_seconds)
        finally:
            for rank in ranks:
                if rank.poll() is None:
                    rank.kill()
            codes = [rank.wait() for rank in ranks]
        ends = "\n".join(
            f"rank {rank}, exit code {code}:\n{log.read_text(errors='replace')[-3000:]}"
            for rank, (code, log) in enumerate(zip(codes, logs, strict=True))
        )
    assert not hanging, f"the ranks used no CPU time for {idle_seconds:.0f} s:\n{ends}"
    assert not any(codes), ends


def _wait(ranks: Sequence[psutil.Popen], idle_seconds: float) -> bool:
    """Wait until all ranks have ended, one has failed, or all hang; return whether they hang."""
    used, since = 0.0, time.monotonic()
    while running := [rank for rank in ranks if rank.poll() is None]:
        if any(rank.returncode for rank in ranks):
            return False
        now = sum(map(_cpu_seconds, running))
        if abs(now - used) > idle_seconds / 200:
            used, since = now, time.monotonic()
        elif time.monotonic() - since > idle_seconds:
            return True
        time.sleep(0.1)
    return False


def _cpu_seconds(rank: psutil.Popen) -> float:
    """Return the CPU time that a rank has used; 0 if it has ended meanwhile."""
    try:
        times = rank.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
