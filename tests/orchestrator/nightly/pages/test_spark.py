"""Spark lines: where a line ends, and which nights are marked."""

from __future__ import annotations

from typing import Any

from orchestrator.nightly.pages.panels import SCALES
from orchestrator.nightly.pages.series import Point, Series, series_of
from orchestrator.nightly.pages.spark import draw_spark
from tests.helpers.nights import dates

SCALE = SCALES["accuracy"]


def series(*values: float | None, broken: tuple[int, ...] = (), moved: int = -1) -> Series:
    nights = dates(len(values))
    return Series(
        [Point(night, value, index in broken) for index, (night, value) in enumerate(zip(nights, values, strict=True))],
        frozenset(),
        frozenset([nights[moved]] if moved >= 0 else []),
    )


def test_a_broken_night_is_marked_and_no_line_goes_through_it() -> None:
    plot = draw_spark("t", series(0.5, 0.6, 0.1, 0.6, 0.5, broken=(2,)), SCALE)
    assert plot is not None
    assert [len(line.split()) for line in plot.lines] == [2, 2]
    assert [mark.x for mark in plot.broken] == [56.0]
    assert "from 50.0 % to 60.0 %" in plot.words  # its value does not count
    assert "1 night broken" in plot.words


def test_a_line_begins_anew_where_the_ruler_moved() -> None:
    plot = draw_spark("t", series(0.5, 0.6, 0.3, 0.3, moved=2), SCALE)
    assert plot is not None
    assert [len(line.split()) for line in plot.lines] == [2, 2]
    assert len(plot.moved) == 1


def test_a_value_between_two_gaps_is_a_dot() -> None:
    plot = draw_spark("t", series(None, 0.6, None), SCALE)
    assert plot is not None
    assert (plot.lines, plot.dots, plot.last) == ([], [(56.0, plot.dots[0][1])], plot.dots[0])


def test_a_series_without_a_value_is_not_drawn() -> None:
    assert draw_spark("t", series(None, None), SCALE) is None
    assert draw_spark("t", series(0.4, broken=(0,)), SCALE) is None


def test_equal_values_and_values_of_zero_are_drawn_within_the_panel() -> None:
    for values in ((0.5,) * 4, (0.0,) * 4, (1.0,) * 4):
        plot = draw_spark("t", series(*values), SCALE, band=(0.4, 0.9))
        assert plot is not None
        heights = [float(point.split(",")[1]) for line in plot.lines for point in line.split()]
        assert all(0 <= height <= 100 for height in heights)
        assert plot.band is not None
        assert plot.band[0] >= 0
        assert plot.band[0] + plot.band[1] <= 100
        assert 1 <= len(plot.up) <= 3


def test_the_first_nights_of_a_loss_and_of_a_gain_are_changes_of_accuracy_and_of_nothing_else() -> None:
    rows: list[dict[str, Any]] = [
        {"night": f"2026-11-0{day}", "verdict": "worse",
         "cells": [{"task": "t", "method": method, "accuracy": 0.5, "status": status} for method, status in cells]}
        for day, cells in enumerate(
            [
                [("m", "unchanged"), ("other", "worse")], [("m", "worse"), ("other", "worse")],
                [("m", "worse"), ("other", "unchanged")], [("m", "better"), ("other", "unchanged")],
            ], start=1)
    ]  # fmt: skip
    assert series_of(rows, ("t", "m"), "accuracy").changes == {"2026-11-02", "2026-11-04"}
    points = {"seconds": ["2026-11-03"]}
    assert series_of(rows, ("t", "m"), "seconds", points).changes == {"2026-11-03"}
    assert series_of(rows, ("t", "m"), "accuracy").known == [0.5] * 4
