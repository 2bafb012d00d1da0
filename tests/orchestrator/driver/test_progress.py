"""Progress: counted from what trainers tell, and said in words."""

from __future__ import annotations

import io
import threading
import time

import pytest
from rich.console import Console

from orchestrator.cluster.news import News
from orchestrator.control import RunEnd
from orchestrator.driver import progress
from orchestrator.driver.progress import Count, Watched, show_progress

STEPS = {"one": 10, "two": 10, "three": 20}
ALL = frozenset(STEPS)


def news(steps: dict[str, int], **ends: str) -> News:
    told = News()
    told.progress(steps)
    for key, status in ends.items():
        told.ended(RunEnd(key, status, 1, "seal"))
    return told


def watched(
    told: News, missing: frozenset[str] = ALL, most: int | None = None, before: dict[str, str] | None = None
) -> Watched:
    return Watched(STEPS, missing, before or {}, most, told)


def test_an_untouched_sweep_has_done_nothing() -> None:
    assert watched(News()).count() == Count(0, 0, 0, 3, 0, 40)


def test_runs_are_counted_by_what_their_trainers_tell() -> None:
    told = news({"one": 10, "two": 4, "three": 7}, one="committed", two="diverged")
    assert watched(told).count() == Count(done=1, running=1, failed=1, runs=3, steps=27, planned_steps=40)


def test_a_stopped_run_is_told_as_such_and_its_steps_are_not_waited_for() -> None:
    state = watched(news({"two": 3, "three": 7}, one="committed", two="stopped")).count()
    assert state == Count(done=1, running=1, failed=0, runs=3, steps=27, planned_steps=40, stopped=1)
    assert state.text(1.0).startswith("1/3 runs done, 1 running, 1 stopped, 0 failed, ")


def test_runs_that_had_ended_before_count_as_runs_and_not_as_steps() -> None:
    told = watched(news({"three": 5}), frozenset({"two", "three"}), before={"one": "committed"})
    assert told.count() == Count(1, 1, 0, 3, 5, 30)


def test_an_end_of_an_earlier_round_is_not_counted_twice_and_not_before_its_run_is_trained_anew() -> None:
    told = watched(news({}, one="committed", two="stopped"), frozenset({"two", "three"}), before={"one": "committed"})
    assert told.count().done == 1


def test_a_search_that_leaves_runs_out_counts_those_it_trains_at_most() -> None:
    told = news({}, one="committed")
    assert watched(told, most=2).count().text(1.0).startswith("1/2 runs done")
    grid = {"two": "committed", "three": "committed"}  # an earlier grid's
    assert watched(told, most=2, before=grid).count().text(1.0).startswith("3/3 runs done")


def test_a_run_that_goes_on_from_a_checkpoint_counts_from_there() -> None:
    told = news({"three": 15})
    told.progress({"three": 2})
    assert watched(told).count().steps == 2


def test_more_steps_than_planned_are_no_more_than_all() -> None:
    assert watched(news({"one": 50}), frozenset({"one"})).count().steps == 10


def test_before_the_first_step_the_text_says_what_trainers_do() -> None:
    told = News()
    assert watched(told).before_steps(61) == "starting trainers, 1 min 01 s so far"
    told.begun = True
    assert watched(told).before_steps(61) == "scoring the base, 1 min 01 s so far"


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


def shown(told: Watched, monkeypatch: pytest.MonkeyPatch, wanted: str) -> str:
    """Show progress until the output has ``wanted``."""
    monkeypatch.setattr(progress, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    output, deadline = io.StringIO(), time.monotonic() + 5
    with show_progress(told, Console(file=output, width=200)):
        while wanted not in output.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    return output.getvalue()


def test_a_log_gets_plain_lines_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    output = shown(watched(news({"three": 5})), monkeypatch, "0/3 runs done, 1 running, 0 failed")
    assert "0/3 runs done, 1 running, 0 failed" in output
    assert "\x1b" not in output
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]


def test_an_error_of_one_look_is_said_once_and_the_next_look_comes_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Unlucky(Watched):
        looks = 0

        def count(self) -> Count:
            self.looks += 1
            if self.looks in (1, 2):
                raise FileNotFoundError("metrics.jsonl")
            return super().count()

    told = Unlucky(STEPS, ALL, {}, None, news({"three": 5}))
    output = shown(told, monkeypatch, "1 running")
    assert output.count("showing progress met an error and goes on: FileNotFoundError('metrics.jsonl')") == 1
    assert "0/3 runs done, 1 running" in output
