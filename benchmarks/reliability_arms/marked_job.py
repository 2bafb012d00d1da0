"""One start of a Ray Tune experiment, whose processes carry a mark, so that orphans can be counted and ended."""

import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.measuring.machine import quiet_environment

MARK = "PEER_OF_A_BENCH"
"""The environment variable that all processes of one start inherit."""
ORPHAN_SECONDS = 30.0
ROOT = Path(__file__).resolve().parents[2]
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # Ray listens on no other address


@dataclass(frozen=True)
class MarkedJob:
    """A running driver; ``mark`` is in the environment of all that it starts."""

    process: subprocess.Popen[bytes]
    mark: str

    @property
    def ended(self) -> bool:
        """Whether the driver has ended."""
        return self.process.poll() is not None

    def left(self) -> int:
        """Wait until no process with the mark is left; return how many are left after `ORPHAN_SECONDS`."""
        end = time.monotonic() + ORPHAN_SECONDS
        while (alive := len(list(_marked(self.mark)))) and time.monotonic() < end:
            time.sleep(0.2)
        return alive


@contextmanager
def started(place: Path) -> Iterator[MarkedJob]:
    """Within: a driver of the experiment below ``place`` runs, on a Ray of its own; after it, nothing of both is left.

    What it prints is appended to ``place/driver.log``.
    """
    mark, ray_folder = uuid.uuid4().hex, tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    environment = {name: value for name, value in quiet_environment().items() if name != "RAY_ADDRESS"}
    with (place / "driver.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.reliability_arms.tune_job", str(place), ray_folder],
            cwd=ROOT,
            env=environment | LOOPBACK | {MARK: mark},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield MarkedJob(process, mark)
        finally:
            for one in _marked(mark):
                with suppress(psutil.Error):
                    one.kill()
            process.wait()
            shutil.rmtree(ray_folder, ignore_errors=True)


def _marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process
