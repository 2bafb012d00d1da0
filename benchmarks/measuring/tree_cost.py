"""Wall-clock seconds of a command, and CPU seconds of the command and all processes that it starts."""

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring.machine import quiet_environment

ROOT = Path(__file__).resolve().parents[2]
LOOK_SECONDS = 1.0  # between two looks; each look walks all processes of the machine
GRACE_SECONDS = 20.0  # for processes that the command has started to end after it
ON_CPU = {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}
_PR_SET_CHILD_SUBREAPER, _PR_SET_PDEATHSIG = 36, 1
LATE = 124  # the exit code of a command that ran past its limit


@dataclass(frozen=True)
class Cost:
    """The cost of a command: clock seconds until it ended, and CPU seconds of all processes that it started."""

    wall: float
    cpu: float


class FailedError(RuntimeError):
    """The command failed; the message ends with the last lines of its output."""


def tree_cost(command: Sequence[str], log: Path, *, limit: float, env: Mapping[str, str] | None = None) -> Cost:
    """Run the command in the checkout's root with one thread per process, its output in `log`; return its cost.

    FailedError if its exit code is not 0.
    """
    report = log.with_suffix(".cost.json")
    report.unlink(missing_ok=True)
    watch = [sys.executable, "-m", "benchmarks.measuring.tree_cost", str(report), str(log), str(limit), *command]
    subprocess.run(watch, cwd=ROOT, env=quiet_environment() | ON_CPU | dict(env or {}), check=True)
    cost = json.loads(report.read_text())
    if cost["code"] != 0:
        last_lines = log.read_text(errors="replace").splitlines()[-15:]
        raise FailedError(f"{' '.join(command)} ended with {cost['code']}:\n" + "\n".join(last_lines))
    return Cost(cost["wall"], cost["cpu"])


def total_seconds(seen: Mapping[tuple[int, float], float], reaped: float) -> float:
    """Return the larger of two sums of CPU seconds; each can miss some seconds, and neither counts too many.

    `seen` has the seconds of each process at the last look, so it misses the seconds after this look. `reaped` is the
    kernel's sum over children that a parent waited for, so it misses children that no parent waited for.
    """
    return max(sum(seen.values()), reaped)


def watch(report: Path, log: Path, limit: float, command: Sequence[str]) -> None:
    """Run the command, adopt its orphaned descendants, and write its exit code and its cost to `report`."""
    _adopt_orphans()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    seen: dict[tuple[int, float], float] = {}
    begin = time.monotonic()
    try:
        with log.open("w") as stream:
            child = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
            code = _wait(child, begin + limit, seen)
        wall = time.monotonic() - begin
        _reap(time.monotonic() + (0 if code == LATE else GRACE_SECONDS), seen)
    finally:  # however this process ends, the processes that it has started end too
        _kill_all()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = total_seconds(seen, used.ru_utime + used.ru_stime)
    report.write_text(json.dumps({"code": code, "wall": wall, "cpu": cpu}))


def _wait(child: subprocess.Popen[bytes], until: float, seen: dict[tuple[int, float], float]) -> int:
    """Return the child's exit code; `LATE` if it was killed because it had not ended at the time ``until``."""
    while True:
        try:
            return child.wait(timeout=LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            _look(seen)
        if time.monotonic() > until:
            child.kill()
            child.wait()
            return LATE


def _reap(until: float, seen: dict[tuple[int, float], float]) -> None:
    """Wait until no descendant is left; from the time ``until`` on, kill the descendants that still run."""
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        _look(seen)
        if time.monotonic() > until:
            _kill_all()
        time.sleep(0.2)


def _kill_all() -> None:
    """Kill every living descendant of this process."""
    import psutil

    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _look(seen: dict[tuple[int, float], float]) -> None:
    """Note the CPU seconds of every living descendant so far."""
    import psutil

    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seen[process.pid, process.create_time()] = times.user + times.system


def _adopt_orphans() -> None:
    """Become the parent of every orphaned descendant, and end when this process's own parent ends. Only on Linux."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


if __name__ == "__main__":
    watch(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
