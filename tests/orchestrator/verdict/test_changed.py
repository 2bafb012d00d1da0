"""What changed under the code, and since which night."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.verdict.changed import changes
from orchestrator.verdict.night import Night, World
from orchestrator.verdict.verdict import Change
from tests.helpers.night_tables import WORLD, day


def _nights(*worlds: World) -> list[Night]:
    return [Night(day(n), world, ()) for n, world in enumerate(worlds, start=1)]


def test_each_change_is_dated_with_the_first_night_that_had_it_without_a_break() -> None:
    code = replace(WORLD, code="code2")
    back = replace(WORLD, versions={"torch": "2.14", "numpy": "2.3"})
    both = replace(code, versions={"torch": "2.14", "numpy": "2.3"})
    first, *rest, last = _nights(WORLD, code, back, both, both)
    assert changes(first, rest, last) == (
        Change("code", "", "code1", "code2", day(4)),
        Change("version", "numpy", None, "2.3", day(3)),
        Change("version", "torch", "2.13", "2.14", day(3)),
    )


def test_a_version_that_is_gone_and_rows_of_a_task_are_named() -> None:
    one, other = _nights(WORLD, replace(WORLD, versions={}, rows={"arc": "new", "boolq": "rows2"}))
    assert changes(one, [], other) == (
        Change("version", "torch", "2.13", None, day(2)),
        Change("rows", "arc", "rows1", "new", day(2)),
    )


def test_nothing_changed_and_nothing_to_compare_with_are_empty() -> None:
    one, other = _nights(WORLD, WORLD)
    assert changes(one, [], other) == ()
    assert changes(None, [], other) == ()


def test_a_night_that_was_broken_off_before_it_was_measured_dates_nothing() -> None:
    nowhere = World("", {}, None, "", "", {}, "")
    code = replace(WORLD, code="code2")
    first, *rest, last = _nights(WORLD, code, nowhere, code)
    assert changes(first, rest, last) == (Change("code", "", "code1", "code2", day(2)),)
