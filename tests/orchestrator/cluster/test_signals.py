"""A Ray that is joined or started leaves the job's own handlers of signals in place, in whichever thread it opens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from orchestrator.cluster.session import ray_session
from orchestrator.cluster.session.ray_session import open_session
from orchestrator.cluster.signals import own_handlers
from tests.helpers.places import ROOT

Init = Callable[..., None]


@pytest.fixture
def came(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The signals that have reached the job's own handlers; RAY_ADDRESS names a cluster."""
    numbers: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda number, frame: numbers.append(number))
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr(ray_session, "check_address", lambda: None)
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


def lay_ray(monkeypatch: pytest.MonkeyPatch, init: Init) -> None:
    """Let ``import ray`` find a Ray of which only ``init`` is there."""
    ray = types.ModuleType("ray")
    ray.init = init  # type: ignore[attr-defined]
    ray.exceptions = types.SimpleNamespace(RayError=LookupError)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", ray)


def exits(number: int, frame: Any) -> None:
    """Ray's own handler of SIGTERM."""
    sys.exit(number)


def sets_handlers(**_: Any) -> None:
    signal.signal(signal.SIGTERM, exits)
    signal.signal(signal.SIGINT, exits)


def test_a_cluster_that_was_joined_in_the_main_thread_leaves_the_handlers(
    monkeypatch: pytest.MonkeyPatch, came: list[int]
) -> None:
    lay_ray(monkeypatch, sets_handlers)
    open_session(1)
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
    assert came == [signal.SIGTERM, signal.SIGINT]


def test_a_sigterm_while_ray_begins_goes_to_the_job_s_own_handler(
    monkeypatch: pytest.MonkeyPatch, came: list[int]
) -> None:
    def init(**_: Any) -> None:
        sets_handlers()
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()  # never reached: the handler has raised

    lay_ray(monkeypatch, init)
    with pytest.raises(SystemExit):
        open_session(1)
    assert came == [signal.SIGTERM]


def test_a_handler_that_has_been_called_and_ignores_the_second_signal_goes_on_ignoring(came: list[int]) -> None:
    with pytest.raises(KeyboardInterrupt), own_handlers():  # noqa: PT012
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as `jobs.command` does at the first SIGTERM
        raise KeyboardInterrupt
    os.kill(os.getpid(), signal.SIGTERM)
    assert came == []


OF_PROCESS = """
import ctypes, os, signal, threading
from orchestrator.cluster.signals import own_handlers
came = []
signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
def open_it():
    with own_handlers():
        ctypes.CDLL(None).signal(signal.SIGTERM, 0)  # as Ray's library does: past Python, and the signal kills
thread = threading.Thread(target=open_it)
thread.start()
thread.join()
os.kill(os.getpid(), signal.SIGTERM)
assert came == [signal.SIGTERM]
"""


def test_a_library_that_sets_the_handler_of_the_process_in_a_thread_leaves_the_job_s_own() -> None:
    done = subprocess.run([sys.executable, "-c", OF_PROCESS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_own_handlers_in_a_thread_change_no_handler_of_python(came: list[int]) -> None:
    def work() -> None:
        with own_handlers():
            pass

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    os.kill(os.getpid(), signal.SIGTERM)
    assert came == [signal.SIGTERM]
