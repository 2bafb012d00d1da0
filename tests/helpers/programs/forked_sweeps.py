"""Run a sweep again and again in forked processes that are killed after drawn seconds, until it ends by itself.

usage: forked_sweeps.py FOLDER RECIPE KILLS SEED KEY=VALUE...

A fork needs no imports, so that many kills fit into a minute. The sweep in FOLDER/golden is not killed; as many others
follow in FOLDER/0, FOLDER/1, ... as it takes for so many kills. Prints a JSON object: kills, and the number of sweeps.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

# what a sweep imports on its way is imported here, once
import torch  # noqa: F401
import transformers  # noqa: F401

import jobs.sweep
from jobs.command import run_job

MOST_SECONDS = 600.0  # for one sweep
BOUND = 0.7  # a start lives at most this share of the seconds that the undisturbed sweep takes


def begun(place: Path, words: list[str]) -> int:
    """Start the sweep in a process of its own; return its id."""
    place.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child:
        return child
    with (place / "said.txt").open("a") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        sys.argv = ["jobs/sweep.py", *words, f"storage={place}/sweeps"]
        code = 1
        try:
            code = run_job("sweep", "test", jobs.sweep.main)
        finally:
            sys.stdout.flush()
            os._exit(code)


def end_of(child: int, seconds: float) -> int | None:
    """Kill a process after some seconds; return its exit code, None if it was killed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def main(folder: Path, words: list[str], wanted: int, seed: int) -> None:
    drawn, kills, sweeps = random.Random(seed), 0, 0
    began = time.monotonic()
    if end_of(begun(folder / "golden", words), MOST_SECONDS) != 0:
        sys.exit((folder / "golden" / "said.txt").read_text())
    whole = time.monotonic() - began
    while kills < wanted:
        place, limit = folder / str(sweeps), time.monotonic() + MOST_SECONDS
        while (code := end_of(begun(place, words), drawn.uniform(0, BOUND * whole))) is None:
            kills += 1
            if time.monotonic() > limit:
                sys.exit(f"{place} does not end")
        if code != 0:
            sys.exit((place / "said.txt").read_text())
        sweeps += 1
    sys.stdout.write(json.dumps({"kills": kills, "sweeps": sweeps}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [sys.argv[2], *sys.argv[5:]], int(sys.argv[3]), int(sys.argv[4]))
