"""Equality of bytes, and the first step that differs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from orchestrator.verdict.bytes import bytes_of, first_difference, series_of, twin_of
from tests.helpers.night_tables import WORLD, day, night

CELL = ("arc", "lora")


@pytest.mark.parametrize(
    ("before", "now", "step"),
    [
        ([], [], None),
        ([1.5, 1.25], [1.5, 1.25], None),
        ([1.5, 1.25, 1.0], [1.5, math.nextafter(1.25, 2), 9.0], 2),
        ([1.5], [1.5, 1.0], 2),
        ([1.5, math.nan], [1.5, math.nan], None),
        ([math.nan], [1.0], 1),
    ],
)
def test_the_first_step_that_differs_in_any_bit(before: list[float], now: list[float], step: int | None) -> None:
    assert first_difference(before, now) == step


def test_code_and_commit_are_no_part_of_a_series_all_else_is() -> None:
    assert series_of(replace(WORLD, code="other", commit="other")) == series_of(WORLD)
    others = [
        replace(WORLD, machine="m"),
        replace(WORLD, versions={"torch": "3"}),
        replace(WORLD, base="b"),
        replace(WORLD, rows={}),
        replace(WORLD, settings="s"),
    ]
    assert len({series_of(world) for world in (WORLD, *others)}) == 6


def test_the_newest_night_of_the_same_series_is_the_one_compared_with() -> None:
    elsewhere = replace(WORLD, machine="m")
    nights = [night(day(1)), night(day(2), "b", world=elsewhere)]
    twin = twin_of(nights, night(day(3)))
    assert twin is nights[0]
    assert bytes_of(twin, night(day(3)), CELL).equal is True
    assert twin_of(nights, night(day(3), "b")) is nights[1]  # equal bytes are equal bytes, wherever
    assert twin_of(nights, night(day(3), "c", world=replace(WORLD, machine="n"))) is nights[1]
    assert twin_of([], night(day(1))) is None


def test_without_shared_seeds_nothing_is_said_of_bytes() -> None:
    one = night(day(1))
    other = replace(one, runs=tuple(replace(run, seed=run.seed + 5) for run in one.runs))
    assert bytes_of(one, other, CELL).equal is None
    assert bytes_of(None, other, CELL).equal is None
