"""A tracker that is out of reach costs no run and no result."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest

from orchestrator.errors import InputError
from orchestrator.tracking.in_memory import MemoryTracker
from orchestrator.tracking.patient import Patience, PatientTracker
from tests.helpers.sweeps import RUNS, rows_of, run

QUICK = Patience(sync=0.2, whole=5.0, grace=0.2, pause=0.0)


class Flaky(MemoryTracker):
    """Refuses the first ``refusals`` calls."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self.refusals = refusals

    def connect(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise ConnectionError("no route to the server")


def test_what_fails_is_said_once_and_tried_again(tmp_path: Path) -> None:
    said: list[str] = []
    tracker = PatientTracker(Flaky(2), said.append, QUICK)
    tracker.connect()
    assert tracker.behind == "no route to the server"
    tracker.sync([], tmp_path)
    assert tracker.behind
    tracker.sync([], tmp_path)
    assert tracker.behind is None
    assert said == ["tracking waits: no route to the server The sweep goes on."]


def test_a_connection_that_was_begun_is_waited_for_and_made_once(tmp_path: Path) -> None:
    class Slow(MemoryTracker):
        connections = 0

        def connect(self) -> None:
            assert gate.wait(10)
            self.connections += 1

    gate, inner = Event(), Slow()
    tracker = PatientTracker(inner, lambda _: None)
    tracker.begin()
    assert tracker.connecting
    assert inner.connections == 0  # and yet we are here
    gate.set()
    tracker.connect()
    tracker.sync([], tmp_path)
    assert (tracker.connecting, inner.connections, tracker.behind) == (False, 1, None)


def test_a_wrong_address_that_was_found_in_a_thread_is_raised_where_it_is_waited_for() -> None:
    class Wrong(MemoryTracker):
        def connect(self) -> None:
            raise InputError("tracking.uri=x cannot be used")

    tracker = PatientTracker(Wrong(), lambda _: None)
    tracker.begin()
    with pytest.raises(InputError, match="cannot be used"):
        tracker.connect()


def test_an_address_that_turns_out_wrong_while_it_trains_ends_nothing_and_promises_nothing(tmp_path: Path) -> None:
    class Late(MemoryTracker):
        asked = 0

        def connect(self) -> None:
            self.asked += 1
            raise ConnectionError("refused") if self.asked == 1 else InputError("the experiment is deleted.")

    tracker = PatientTracker(Late(), lambda _: None, QUICK)
    tracker.connect()
    assert tracker.problem == "tracking is behind: refused The same command sends the rest."
    tracker.sync([], tmp_path)
    assert tracker.problem == (
        "tracking is behind: the experiment is deleted. Waiting does not mend it: correct it, and the same command "
        "sends the rest."
    )


@pytest.mark.slow
def test_a_server_that_is_down_all_the_time_costs_nothing_but_the_exit_code(recipe: Path, tmp_path: Path) -> None:
    code, printed, folder = run(recipe, "tracking.uri=http://127.0.0.1:9", "champions=false")
    assert code == 1
    assert "tracking is behind" in printed
    assert [row["status"] for row in rows_of(folder)] == ["committed"] * RUNS
    assert (folder / "report.html").exists()
    code, printed, _ = run(recipe, "champions=false")
    assert code == 0, printed
    assert "0 to train" in printed
    assert all(row["mlflow_run_id"] for row in rows_of(folder))
