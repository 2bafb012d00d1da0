"""Stop this machine when its Ray has had no job for a while: a forgotten head costs nothing but its disk.

    python deploy/stop_when_idle.py --minutes 120

It asks Ray's job server once a minute; if that does not answer, nothing runs there, and the time counts as idle too.
A second copy ends at once. Workers are not its matter: the autoscaler ends those.
"""

from __future__ import annotations

import argparse
import fcntl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ADDRESS = "http://127.0.0.1:8265"
PAUSE_SECONDS = 60.0
STOP = ["sudo", "systemctl", "poweroff"]


def busy() -> bool:
    """Return whether a job waits or runs."""
    from ray.job_submission import JobSubmissionClient

    jobs = JobSubmissionClient(ADDRESS).list_jobs()
    return any(str(job.status) in ("PENDING", "RUNNING") for job in jobs)


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
            print(f"{time.strftime('%F %T')} Ray's job server does not answer: {error}", flush=True)
        pause()


def main(argv: list[str] | None = None) -> int:
    """Wait, then stop the machine."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, required=True)
    given = parser.parse_args(argv)
    with Path("~/.stop_when_idle.lock").expanduser().open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another copy watches this machine already", flush=True)
            return 0
        wait_until_idle(60 * given.minutes, busy, time.monotonic, lambda: time.sleep(PAUSE_SECONDS))
        print(f"{time.strftime('%F %T')} no job for {given.minutes:g} minutes: this machine stops", flush=True)
        return subprocess.run(STOP, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
