"""The forest plot: positions in proportion, within the axis."""

from __future__ import annotations

import pytest

from orchestrator.report.figures.forest import Estimate, draw


def test_positions_in_a_figure_are_in_proportion_to_the_values() -> None:
    plot = draw("t", [Estimate("a", 0.5, [0.4, 0.6], [0.45, 0.55])], [("base", 0.2), ("top", 1.0)], (0.0, 1.0))
    (row,) = plot.rows
    scale = (plot.references[1].x - plot.references[0].x) / 0.8
    assert row.low is not None
    assert row.mean - row.low == pytest.approx(0.1 * scale, abs=0.02)  # positions are rounded to 0.01 %
    assert row.seeds[1] - row.seeds[0] == pytest.approx(0.1 * scale, abs=0.02)
    assert [tick.label for tick in plot.ticks] == ["20", "40", "60", "80", "100"]


def test_a_figure_holds_an_interval_that_leaves_the_possible_range() -> None:
    plot = draw("t", [Estimate("a", 0.9, [0.2, 1.6], [0.85, 0.95])], [], (0.0, 1.0))
    assert plot.rows[0].high == 97.0
    assert plot.rows[0].mean < 97.0


def test_a_figure_of_a_single_value_has_an_axis() -> None:
    plot = draw("t", [Estimate("a", 0.7, None, [0.7])], [], (0.0, 1.0))
    assert 3 <= len(plot.ticks) <= 6
    assert plot.rows[0].low is None
