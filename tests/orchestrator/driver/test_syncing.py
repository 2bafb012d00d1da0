"""The tracker has a thread of its own: a slow or broken server does not slow training or the showing of progress."""

from __future__ import annotations

import threading
import time

import pytest

from orchestrator.driver import syncing as module
from orchestrator.driver.syncing import syncing


def test_a_sync_that_hangs_delays_the_round_by_its_limit_alone_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SYNC_SECONDS", 0.01)
    monkeypatch.setattr(module, "LAST_SECONDS", 0.1)
    said, hangs, over = list[str](), threading.Event(), threading.Event()

    def sync() -> None:
        hangs.set()
        over.wait(20)

    begin = time.monotonic()
    with syncing(sync, said.append):
        assert hangs.wait(5)
        assert time.monotonic() - begin < 4  # what trains here does not wait
    assert time.monotonic() - begin < 5
    assert said == ["waiting for the tracker (at most 0 s)"]
    over.set()


def test_an_error_of_a_sync_is_said_once_and_the_next_comes_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SYNC_SECONDS", 0.01)
    said, calls, enough = list[str](), list[int](), threading.Event()

    def sync() -> None:
        calls.append(1)
        if len(calls) == 3:
            enough.set()
        raise OSError("no server")

    with syncing(sync, said.append):
        assert enough.wait(5)
    assert said == ["tracking met an error and goes on: OSError('no server')"]
