"""A head that has had no job for the limit stops; a job that runs, or waits, keeps it up."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy import stop_when_idle


class Clock:
    """A clock that a pause moves on by a minute."""

    def __init__(self) -> None:
        self.now = 0.0

    def pause(self) -> None:
        self.now += 60


def minutes_until_idle(limit: float, busy: Callable[[float], bool]) -> float:
    clock = Clock()
    stop_when_idle.wait_until_idle(60 * limit, lambda: busy(clock.now / 60), lambda: clock.now, clock.pause)
    return clock.now / 60


def test_an_idle_head_stops_after_the_limit() -> None:
    assert minutes_until_idle(120, lambda _: False) == 120


def test_a_job_begins_the_time_anew() -> None:
    assert minutes_until_idle(120, lambda minute: minute <= 300) == 420


def test_a_job_server_that_does_not_answer_counts_as_idle_and_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    def gone(_: float) -> bool:
        raise ConnectionError("refused")

    assert minutes_until_idle(2, gone) == 2
    assert "Ray does not answer: refused" in capsys.readouterr().out


def test_a_server_that_hangs_counts_as_one_that_does_not_answer() -> None:
    over = threading.Event()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.05 s"):
        stop_when_idle.answered(lambda: over.wait(30), 0.05)
    over.set()
    assert stop_when_idle.answered(lambda: True)
    with pytest.raises(ZeroDivisionError):
        stop_when_idle.answered(lambda: bool(1 / 0))


@pytest.mark.parametrize(("words", "asked"), [([], "busy"), (["--worker"], "has_raylet")])
def test_a_head_is_judged_by_its_jobs_and_a_worker_by_its_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], asked: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(stop_when_idle, "STOP", ["true"])
    monkeypatch.setattr(stop_when_idle, "PAUSE_SECONDS", 0.01)
    calls: list[str] = []

    def asking(name: str) -> Callable[[], bool]:
        return lambda: calls.append(name) is not None  # never in use

    for name in ("busy", "has_raylet"):
        monkeypatch.setattr(stop_when_idle, name, asking(name))
    assert stop_when_idle.main(["--minutes", "0.0005", *words]) == 0
    assert set(calls) == {asked}


def test_a_raylet_is_found_by_its_name(tmp_path: Path) -> None:
    program = tmp_path / "raylet"
    program.write_text("#!/bin/sh\nread _\n")
    program.chmod(0o755)
    there = stop_when_idle.has_raylet()
    with subprocess.Popen([program], stdin=subprocess.PIPE) as raylet:
        assert stop_when_idle.has_raylet()
        assert raylet.stdin is not None
        raylet.stdin.close()
    assert there or not stop_when_idle.has_raylet()


def test_one_copy_watches_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    stopped = tmp_path / "stopped"
    monkeypatch.setattr(stop_when_idle, "STOP", ["touch", str(stopped)])

    def while_another_starts(*_: object) -> None:
        assert stop_when_idle.main(["--minutes", "1"]) == 0
        assert not stopped.exists()

    monkeypatch.setattr(stop_when_idle, "wait_until_idle", while_another_starts)
    assert stop_when_idle.main(["--minutes", "1"]) == 0
    assert stopped.exists()
    assert "another copy" in capsys.readouterr().out
