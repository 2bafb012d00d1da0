"""Progress: counted from the run folders, and said in words."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.driver import progress
from orchestrator.driver.progress import Count, Watched, show_progress
from orchestrator.files import write_bytes, write_lines
from orchestrator.store.attempt import Attempt
from orchestrator.store.run_folder import RunFolder
from orchestrator.store.sweep_folder import SweepFolder

STEPS = {"one": 10, "two": 10, "three": 20}
ALL = frozenset(STEPS)


def log(folder: Path, key: str, steps: int) -> Attempt:
    attempt = RunFolder(folder / "runs" / key).begin({})
    write_lines(attempt.path / "metrics.jsonl", [{"step": step} for step in range(steps)])
    return attempt


def commit(folder: Path, key: str) -> None:
    attempt = log(folder, key, STEPS[key])
    write_bytes(attempt.path / "adapter" / "x", b"x")
    write_bytes(attempt.path / "predictions.jsonl", b"{}\n")
    attempt.commit({})


def count(folder: Path, missing: frozenset[str] = ALL, most: int | None = None) -> Count:
    return Watched(SweepFolder(folder), STEPS, missing, most).count()


def test_an_untouched_sweep_has_done_nothing(tmp_path: Path) -> None:
    assert count(tmp_path) == Count(0, 0, 0, 3, 0, 40)


def test_runs_are_counted_by_what_their_folders_say(tmp_path: Path) -> None:
    commit(tmp_path, "one")
    log(tmp_path, "two", 4).diverge({})
    log(tmp_path, "three", 7)
    assert count(tmp_path) == Count(done=1, running=1, failed=1, runs=3, steps=27, planned_steps=40)


def test_a_stopped_run_is_told_as_such_and_its_steps_are_not_waited_for(tmp_path: Path) -> None:
    commit(tmp_path, "one")
    log(tmp_path, "two", 3).stop({}, "a rule")
    log(tmp_path, "three", 7)
    state = count(tmp_path)
    assert state == Count(done=1, running=1, failed=0, runs=3, steps=27, planned_steps=40, stopped=1)
    assert state.text(1.0).startswith("1/3 runs done, 1 running, 1 stopped, 0 failed, ")


def test_runs_that_had_ended_before_count_as_runs_and_not_as_steps(tmp_path: Path) -> None:
    commit(tmp_path, "one")
    log(tmp_path, "three", 5)
    assert count(tmp_path, frozenset({"two", "three"})) == Count(1, 1, 0, 3, 5, 30)


def test_a_search_that_leaves_runs_out_counts_those_it_trains_at_most(tmp_path: Path) -> None:
    commit(tmp_path, "one")
    assert count(tmp_path, most=2).text(1.0).startswith("1/2 runs done")
    commit(tmp_path, "two")
    commit(tmp_path, "three")  # an earlier grid's
    assert count(tmp_path, most=2).text(1.0).startswith("3/3 runs done")


def test_an_attempt_that_begins_again_counts_from_its_own_beginning(tmp_path: Path) -> None:
    log(tmp_path, "three", 15)
    log(tmp_path, "three", 2)
    assert count(tmp_path).steps == 2


def test_more_steps_than_planned_are_no_more_than_all(tmp_path: Path) -> None:
    log(tmp_path, "one", 50)
    assert count(tmp_path, frozenset({"one"})).steps == 10


def test_an_opened_run_without_a_step_is_not_running_yet(tmp_path: Path) -> None:
    log(tmp_path, "one", 0)
    assert count(tmp_path).running == 0


@pytest.mark.parametrize(
    ("steps", "seconds", "left"),
    [
        (0, 0.0, "? left"),
        (0, 5.0, "? left"),
        (10, 0.0, "? left"),
        (10, 10.0, "1 min 30 s left to train"),
        (50, 25.0, "0 min 25 s left to train"),
        (1, 60.0, "1 h 39 min left to train"),
        (10, 400.0, "1 h 00 min left to train"),
        (100, 25.0, "scoring"),
        (110, 25.0, "scoring"),
    ],
)
def test_the_time_left_is_what_the_steps_so_far_took(steps: int, seconds: float, left: str) -> None:
    text = Count(done=1, running=2, failed=0, runs=9, steps=steps, planned_steps=100).text(seconds)
    assert text == f"1/9 runs done, 2 running, 0 failed, {left}"


def test_a_log_gets_plain_lines_and_the_poll_is_called_until_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    log(tmp_path, "three", 5)
    polled, output = threading.Event(), io.StringIO()
    with show_progress(Watched(SweepFolder(tmp_path), STEPS, ALL), Console(file=output, width=200), polled.set):
        assert polled.wait(5)
    assert "0/3 runs done, 1 running, 0 failed" in output.getvalue()
    assert "\x1b" not in output.getvalue()
    assert not [thread for thread in threading.enumerate() if "_watch" in thread.name]
