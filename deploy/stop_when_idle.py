"""Stop this machine when its Ray has had no job for a while: a forgotten head costs nothing but its disk.

    python deploy/stop_when_idle.py --minutes 120               # on a head
    python deploy/stop_when_idle.py --minutes 30 --worker       # on a worker

On a head it asks Ray's job server once a minute; if that does not answer, nothing runs there, and the time counts as
idle too. Workers are ended by the autoscaler; but if the head is gone, so is the autoscaler, and nobody would end them.
A worker's Ray ends within minutes then, and a worker that has no Ray for a while stops itself. A second copy on one
machine ends at once.
"""

from __future__ import annotations

import argparse
import fcntl
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

ADDRESS = "http://127.0.0.1:8265"
PAUSE_SECONDS = 60.0
ANSWER_SECONDS = 60.0  # after so long a job server that hangs counts as one that does not answer
RAYLET = ["pgrep", "-x", "raylet"]
STOP = ["sudo", "systemctl", "poweroff"]


def busy() -> bool:
    """Return whether a job waits or runs."""
    from ray.job_submission import JobSubmissionClient

    jobs = JobSubmissionClient(ADDRESS).list_jobs()
    return any(str(job.status) in ("PENDING", "RUNNING") for job in jobs)


def has_raylet() -> bool:
    """Return whether Ray runs on this machine, as it does on a worker that a head knows."""
    return subprocess.run(RAYLET, stdout=subprocess.DEVNULL, check=False).returncode == 0


def answered(ask: Callable[[], bool], seconds: float = ANSWER_SECONDS) -> bool:
    """Return what ``ask`` returns, or raise what it raises; TimeoutError after so many seconds."""
    answers: queue.Queue[bool | Exception] = queue.Queue()

    def call() -> None:
        try:
            answers.put(ask())
        except Exception as error:  # of any kind: raised below
            answers.put(error)

    threading.Thread(target=call, daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def wait_until_idle(
    limit: float, asked: Callable[[], bool], clock: Callable[[], float], pause: Callable[[], None]
) -> None:
    """Return when no job has been seen for ``limit`` seconds of ``clock``."""
    last = clock()
    while clock() - last < limit:
        try:
            if asked():
                last = clock()
        except Exception as error:  # of any kind: Ray may be starting, or gone
            print(f"{time.strftime('%F %T')} Ray does not answer: {error}", flush=True)
        pause()


def main(argv: list[str] | None = None) -> int:
    """Wait, then stop the machine."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--worker", action="store_true", help="stop when no Ray runs here, whether it has jobs or not")
    given = parser.parse_args(argv)
    with Path("~/.stop_when_idle.lock").expanduser().open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another copy watches this machine already", flush=True)
            return 0
        used, what = (has_raylet, "Ray") if given.worker else (busy, "job")
        wait_until_idle(60 * given.minutes, lambda: answered(used), time.monotonic, lambda: time.sleep(PAUSE_SECONDS))
        print(f"{time.strftime('%F %T')} no {what} for {given.minutes:g} minutes: this machine stops", flush=True)
        return subprocess.run(STOP, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
