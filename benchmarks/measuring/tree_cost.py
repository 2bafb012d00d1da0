"""Wall and CPU seconds of a command with everything that it starts, in a process of its own."""

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
LOOK_SECONDS = 1.0  # a look walks all processes of the machine: seldom enough to cost nothing
GRACE_SECONDS = 20.0  # what a command has started may end a little after it
ON_CPU = {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}
_PR_SET_CHILD_SUBREAPER, _PR_SET_PDEATHSIG = 36, 1
LATE = 124  # the code of a command that was past its limit


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock until the command ended, and of all CPUs until its last process did."""

    wall: float
    cpu: float


class FailedError(RuntimeError):
    """The command did not end well; the message ends with what it said last."""


def tree_cost(command: Sequence[str], log: Path, *, limit: float, env: Mapping[str, str] | None = None) -> Cost:
    """Run the command from the checkout, one thread a process, what it says in `log`; its cost, or `FailedError`."""
    report = log.with_suffix(".cost.json")
    report.unlink(missing_ok=True)
    watch = [sys.executable, "-m", "benchmarks.measuring.tree_cost", str(report), str(log), str(limit), *command]
    subprocess.run(watch, cwd=ROOT, env=quiet_environment() | ON_CPU | dict(env or {}), check=True)
    found = json.loads(report.read_text())
    if found["code"] != 0:
        said = log.read_text(errors="replace").splitlines()[-15:]
        raise FailedError(f"{' '.join(command)} ended with {found['code']}:\n" + "\n".join(said))
    return Cost(found["wall"], found["cpu"])


def total_seconds(seen: Mapping[tuple[int, float], float], reaped: float) -> float:
    """The larger of two accounts, each of which can only miss some.

    `seen` is what each process had used when it was last looked at, and misses what came after; `reaped` is what the
    kernel adds up when parents wait for children, and misses children that nobody waited for.
    """
    return max(sum(seen.values()), reaped)


def watch(report: Path, log: Path, limit: float, command: Sequence[str]) -> None:
    """Run the command as the parent of all orphans below it, and write its code and cost to `report`."""
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
    finally:  # whatever ends this process ends what it has started
        _kill_all()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = total_seconds(seen, used.ru_utime + used.ru_stime)
    report.write_text(json.dumps({"code": code, "wall": wall, "cpu": cpu}))


def _wait(child: subprocess.Popen[bytes], until: float, seen: dict[tuple[int, float], float]) -> int:
    """The child's exit code; `LATE` where it has not ended by then."""
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
    """Wait for the processes that are left, and kill what is still there in the end."""
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
    """Kill every living process of the tree."""
    import psutil

    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _look(seen: dict[tuple[int, float], float]) -> None:
    """Note what every living process of the tree has used so far."""
    import psutil

    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seen[process.pid, process.create_time()] = times.user + times.system


def _adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, and end with the own parent; only Linux can."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


if __name__ == "__main__":
    watch(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
