"""The lines of the trend page: change points dated by night, seconds within a series, broken nights in no stretch."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.verdict.night import Night
from orchestrator.verdict.trend import lines_of
from tests.helpers.night_tables import WORLD, day, night, without

CELL = ("arc", "lora")


def _timed(n: int, seconds: float, machine: str = "cpu x 1", **more: object) -> Night:
    one = night(day(n), world=replace(WORLD, machine=machine))
    runs = tuple(replace(run, seconds=seconds + 0.01 * (run.seed % 7) + 0.02 * (n % 3)) for run in one.runs)
    return replace(one, runs=runs, **{"status": "same_bytes", **more})  # type: ignore[arg-type]


def test_a_change_of_seconds_is_dated_with_its_first_night() -> None:
    nights = [_timed(n, 10.0 if n < 8 else 13.0) for n in range(1, 15)]
    accuracy, seconds, memory = lines_of(nights, CELL)
    assert seconds.changed == (day(8),)
    assert (accuracy.changed, memory.changed) == ((), ())
    assert memory.values == (1000.0,) * 14


def test_another_machine_is_another_series_and_no_change() -> None:
    nights = [_timed(n, 10.0 if n < 8 else 13.0, "cpu x 1" if n < 8 else "gpu x 1") for n in range(1, 15)]
    _, seconds, _ = lines_of(nights, CELL)
    assert (seconds.changed, set(seconds.series)) == ((), {0, 1})


def test_one_slow_run_of_a_night_moves_no_median() -> None:
    nights = [_timed(n, 10.0) for n in range(1, 15)]
    runs = list(nights[7].runs)
    at = next(i for i, run in enumerate(runs) if run.cell == CELL)
    runs[at] = replace(runs[at], seconds=500.0)
    nights[7] = replace(nights[7], runs=tuple(runs))
    assert max(value for value in lines_of(nights, CELL)[1].values if value) < 11


def test_a_broken_night_is_marked_and_in_no_stretch() -> None:
    nights = [_timed(n, 10.0) for n in range(1, 15)]
    nights[4:8] = [_timed(n, 99.0, status="incomplete") for n in range(5, 9)]
    nights[9] = without(nights[9], CELL)
    _, seconds, _ = lines_of(nights, CELL)
    assert seconds.changed == ()
    assert seconds.statuses[4:8] == ("incomplete",) * 4
    assert seconds.values[9] is None
    whole = [replace(night, status="within_noise") for night in nights]
    assert lines_of(whole, CELL)[1].changed == (day(5), day(9))
