"""Start the ranks of one world as processes, for tests of engines, and wait for all of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import psutil

from tests.helpers.places import ROOT

IDLE_SECONDS = 180.0
"""Ranks hang if all of them together use less than 1/200 of the CPU time of one core for so many seconds."""
UNCONNECTED = "connectFullMesh failed"
"""What gloo says in a rank that could not connect to another rank; none of our code has run by then."""
STARTS = 3
"""How often ranks are started, at most, if gloo does not connect them."""


class Outcome(NamedTuple):
    """The exit codes of all ranks, the ends of their logs, and whether they were ended because they hung."""

    codes: list[int]
    logs: list[str]
    hung: bool

    def __str__(self) -> str:
        ranks = enumerate(zip(self.codes, self.logs, strict=True))
        return "\n".join(f"rank {rank}, exit code {code}:\n{log}" for rank, (code, log) in ranks)


def run_ranks(module: str, words: Sequence[Sequence[object]], idle_seconds: float = IDLE_SECONDS) -> None:
    """Run ``python -m module`` once per rank, with the words of each rank; return when all ranks have ended.

    The ranks meet by `join_ranks`. AssertionError, with the exit codes and the ends of all logs, as soon as one rank
    has failed or all ranks hang. The time of a clock has no limit, because ranks that share the machine with other work
    are slow without hanging. No rank outlives the call.

    Gloo listens on a port in each rank, and the ranks read these ports from a file. On a busy machine a connection to
    such a port is now and then refused. After four attempts, within seconds, gloo gives up in one rank, and the other
    rank waits for half an hour. So if gloo has not connected the ranks, all are started again, with a new file.
    """
    for start in range(1, STARTS + 1):
        outcome = _run(module, words, idle_seconds)
        if start == STARTS or not any(UNCONNECTED in log for log in outcome.logs):
            break
    assert not outcome.hung, f"the ranks used no CPU time for {idle_seconds:.0f} s:\n{outcome}"
    assert not any(outcome.codes), outcome


def join_ranks(rank: int, world: int) -> None:
    """Make the process group of this rank, by gloo and the file that `run_ranks` has named; call it in each rank."""
    import torch

    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world))
    file = os.environ["RANKS_MEET_IN"]
    torch.distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=world)


def _run(module: str, words: Sequence[Sequence[object]], idle_seconds: float) -> Outcome:
    """Start the ranks once, and wait for their end."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        logs = [Path(folder) / f"rank{rank}.log" for rank in range(len(words))]
        ranks = [
            psutil.Popen(
                [sys.executable, "-W", "ignore", "-m", module, *map(str, words_of_rank)],
                cwd=ROOT,
                env=os.environ | {"RANKS_MEET_IN": f"{folder}/init"},
                stdout=stack.enter_context(log.open("wb")),
                stderr=subprocess.STDOUT,
            )
            for words_of_rank, log in zip(words, logs, strict=True)
        ]
        try:
            hung = _wait(ranks, idle_seconds)
        finally:
            for rank in ranks:
                if rank.poll() is None:
                    rank.kill()
            codes = [rank.wait() for rank in ranks]
        return Outcome(codes, [log.read_text(errors="replace")[-3000:] for log in logs], hung)


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
