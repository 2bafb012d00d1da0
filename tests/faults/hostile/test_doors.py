"""A scan of what the README starts: nothing beyond loopback answers without a token, but what ADR 32 names."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.listeners import Listener, answer, beyond_loopback, clean_environment
from tests.helpers.places import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.rare, pytest.mark.timeout(300)]
COMMANDS = [
    line.partition("  #")[0].strip()
    for line in (ROOT / "README.md").read_text().split("## On a cluster\n")[1].split("```")[1].splitlines()
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def head(tmp_path: Path, *left_out: str) -> Iterator[int]:
    """The commands of the README up to `ray start`, in a home of their own; the process id of the head."""
    commands = [line for line in COMMANDS if line and not any(word in line for word in left_out)]
    start = commands.index("ray start --head")
    temp, log = tempfile.mkdtemp(prefix="ray-", dir="/tmp"), tmp_path / "head.txt"
    options = f"--block --port={free_port()} --dashboard-port={free_port()} --temp-dir={temp} --num-cpus=1"
    script = "\n".join([*commands[:start], f"exec ray start --head {options} --disable-usage-stats"])
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with log.open("w") as file:
        environment = clean_environment(HOME=str(tmp_path), PATH=path)
        process = subprocess.Popen(["bash", "-ec", script], env=environment, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + 120
        while "Ray runtime started" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        yield process.pid
        assert process.poll() is None, log.read_text()  # the scan has not ended it
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        shutil.rmtree(temp, ignore_errors=True)


def settled(root: int) -> set[Listener]:
    """The listeners of a head as soon as its agents listen too: no new one for 5 s."""
    seen, since = beyond_loopback(root), time.monotonic()
    while time.monotonic() - since < 5:
        now = beyond_loopback(root)
        if now - seen:
            seen, since = seen | now, time.monotonic()
        time.sleep(0.2)
    return beyond_loopback(root)


def test_on_one_machine_ray_listens_on_loopback_alone(tmp_path: Path) -> None:
    with head(tmp_path) as root:
        assert settled(root) == set()
    assert stat.S_IMODE((tmp_path / ".ray" / "auth_token").stat().st_mode) == 0o600


def test_on_several_machines_all_but_metrics_demand_the_token(tmp_path: Path) -> None:
    with head(tmp_path, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") as root:
        answers = {listener: answer(listener) for listener in settled(root)}
    kinds = sorted(answers.values())
    assert set(kinds) == {"metrics", "refuses"}, answers
    assert kinds.count("refuses") >= 4, answers  # gcs, raylet (two ports), agent
    assert "metrics" in (ROOT / "docs" / "adr" / "0032-input-and-doors.md").read_text()


def test_without_a_token_the_same_ports_answer_so_the_scan_can_fail(tmp_path: Path) -> None:
    with head(tmp_path, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_AUTH_MODE", "get-auth-token") as root:
        answers = [answer(listener) for listener in settled(root)]
    assert [told for told in answers if "answers" in told]


def test_the_ray_of_a_job_listens_on_loopback_alone_whatever_the_environment_says(recipe: Path) -> None:
    """Also torch's rendezvous of the two workers, which rank 0 lets listen on its node's address alone."""
    words = ["cluster.kind=ray", "engine.kind=zero", "cluster.workers=2", "champions=false", "tracking.uri=none"]
    job = subprocess.Popen(
        [sys.executable, str(ROOT / "jobs" / "sweep.py"), str(recipe), *words],
        cwd=recipe.parent,
        env=clean_environment(RAY_AUTH_MODE="disabled"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seen: set[Listener] = set()
    while job.poll() is None:
        seen |= beyond_loopback(job.pid)
        time.sleep(0.2)
    told, _ = job.communicate()
    assert job.returncode == 0, told[-3000:]
    assert seen == set()
