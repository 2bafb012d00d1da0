"""A tracker that hangs holds nobody up; what is owed is sent in the end, by one thread, whoever asked for it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from orchestrator.errors import InputError
from orchestrator.plan.runs import PlannedRun
from orchestrator.tracking.in_memory import MemoryTracker
from orchestrator.tracking.patient import Patience, PatientTracker
from tests.helpers.tracked.tracked_sweep import RUNS

QUICK = Patience(sync=0.2, whole=0.4, grace=0.3, pause=0.0)


class Hanging(MemoryTracker):
    """Each sync waits for ``go``; notes every call, and calls that overlap."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.inside, self.overlaps = Event(), 0, 0
        self.calls: list[str] = []

    def sync(self, runs: Any, folder: Path) -> None:
        self._call("sync")
        assert self.go.wait(10)
        self.inside -= 1

    def fail(self, run: PlannedRun, error: str) -> None:
        self._call(f"fail {run.key}")
        self.inside -= 1

    def summarise(self, summary: Any, folder: Path, complete: bool) -> None:
        self._call("summarise")
        self.inside -= 1

    def interrupt(self) -> None:
        self._call("interrupt")
        self.inside -= 1

    def _call(self, name: str) -> None:
        self.calls.append(name)
        self.inside += 1
        self.overlaps += self.inside > 1


def seconds_of(call: Any, *args: Any) -> float:
    start = time.monotonic()
    call(*args)
    return time.monotonic() - start


def until(condition: Any) -> None:
    """Wait at most five seconds."""
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_of_many_callers_behind_a_request_that_hangs_one_waits_and_all_is_sent_when_it_ends(tmp_path: Path) -> None:
    inner, said = Hanging(), list[str]()
    tracker = PatientTracker(inner, said.append, replace(QUICK, sync=2.0))
    tracker.connect()
    assert seconds_of(tracker.sync, RUNS, tmp_path) > 1.9
    assert tracker.behind == "the tracker has not answered for 2 s."
    assert seconds_of(lambda: [tracker.fail(run, "no memory") for run in RUNS]) < 1.9  # not one waits
    assert seconds_of(tracker.connect) < 1.9  # in the middle of training
    problem = tracker.problem or ""
    assert f"Not shown: the errors of {len(RUNS)} runs. The same command sends the rest." in problem
    assert said == ["tracking waits: the tracker has not answered for 2 s. The sweep goes on."]
    inner.go.set()
    until(lambda: tracker.behind is None and len(inner.calls) > len(RUNS))
    assert inner.calls == ["sync", *(f"fail {run.key}" for run in RUNS)] or inner.calls[1] == "sync"
    assert inner.overlaps == 0
    assert len(said) == 1


def test_a_tracker_that_gets_on_is_waited_for_however_long_it_takes(tmp_path: Path) -> None:
    class Slow(MemoryTracker):
        requests = 0

        def moves(self) -> int:
            return self.requests

        def sync(self, runs: Any, folder: Path) -> None:
            for _ in range(10):
                time.sleep(0.1)
                self.requests += 1

    tracker = PatientTracker(Slow(), lambda _: None, QUICK)
    assert seconds_of(tracker.sync, RUNS, tmp_path) > 0.9
    assert tracker.behind is None


def test_calls_of_many_threads_are_made_one_after_the_other(tmp_path: Path) -> None:
    inner = Hanging()
    inner.go.set()
    tracker = PatientTracker(inner, lambda _: None)
    tracker.begin()
    work = [Thread(target=tracker.sync, args=(RUNS, tmp_path)) for _ in range(8)]
    work += [Thread(target=tracker.fail, args=(run, "no memory")) for run in RUNS]
    work += [Thread(target=tracker.connect) for _ in range(4)]
    for one in work:
        one.start()
    for one in work:
        one.join(10)
    assert inner.overlaps == 0
    assert {f"fail {run.key}" for run in RUNS} < set(inner.calls)
    assert tracker.behind is None


@pytest.mark.parametrize("hangs", [True, False])
def test_an_interrupted_sweep_gives_its_tracker_a_grace_and_no_more(tmp_path: Path, hangs: bool) -> None:
    inner, said = Hanging(), list[str]()
    tracker = PatientTracker(inner, said.append, QUICK)
    tracker.connect()
    if hangs:
        tracker.sync(RUNS, tmp_path)
        said.clear()
    tracker.summarise({}, tmp_path, True)
    assert seconds_of(tracker.interrupt) < 0.6
    assert [line for line in said if "runs as running" in line] == said[-1:] if hangs else said == []
    inner.go.set()
    until(lambda: inner.calls[-1] == "interrupt")
    assert inner.overlaps == 0


def test_an_interrupt_before_anything_was_connected_asks_for_nothing() -> None:
    inner = Hanging()
    PatientTracker(inner, lambda _: None).interrupt()
    assert inner.calls == []


def test_what_is_refused_for_good_holds_up_nothing_else_and_is_told_to_the_end(tmp_path: Path) -> None:
    class NoRegistry(MemoryTracker):
        def register(self, task: str, evaluation: Any, place: Path, before: Path | None = None) -> None:
            raise InputError("this server has no registry.")

    inner = NoRegistry()
    tracker = PatientTracker(inner, lambda _: None, QUICK)
    tracker.connect()
    tracker.register("boolq", {}, tmp_path)
    tracker.summarise({"headline": "x"}, tmp_path, True)
    assert inner.summary == {"headline": "x"}
    assert tracker.problem == (
        "tracking is behind: this server has no registry. Not shown: the champion of boolq. Waiting does not mend it: "
        "correct it, and the same command sends the rest."
    )


def test_an_error_that_could_not_be_shown_is_shown_by_a_later_call(tmp_path: Path) -> None:
    class Down(MemoryTracker):
        down = True

        def fail(self, run: PlannedRun, error: str) -> None:
            if self.down:
                raise ConnectionError("refused")
            super().fail(run, error)

    inner = Down()
    tracker = PatientTracker(inner, lambda _: None, QUICK)
    tracker.connect()
    tracker.fail(RUNS[0], "no memory")
    inner.down = False
    tracker.sync([], tmp_path)
    assert inner.failed == {RUNS[0].key: "no memory"}
    assert tracker.behind is None


def test_after_a_failure_nothing_is_tried_for_a_pause_but_by_a_call_that_insists(tmp_path: Path) -> None:
    class Down(MemoryTracker):
        tries = 0

        def sync(self, runs: Any, folder: Path) -> None:
            self.tries += 1
            raise ConnectionError("refused")

    inner = Down()
    tracker = PatientTracker(inner, lambda _: None, Patience(pause=30.0, tries=3))
    tracker.connect()
    for _ in range(5):
        tracker.sync([], tmp_path)
    assert inner.tries == 1
    tracker.sync([], tmp_path, now=True)
    assert inner.tries == 4


def test_a_fault_of_our_own_leaves_nobody_waiting(tmp_path: Path) -> None:
    class Broken(MemoryTracker):
        def sync(self, runs: Any, folder: Path) -> None:
            raise RuntimeError("a bug")

    tracker = PatientTracker(Broken(), lambda _: None, QUICK)
    tracker.connect()
    assert seconds_of(tracker.sync, [], tmp_path) < 0.15
    assert tracker.behind == "a bug"
