"""Rate sensitivity as a figure: every rate is there, with its interval, and nothing that was lost is hidden."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from orchestrator.report.figures.axis import in_order, logarithmic
from orchestrator.report.figures.panels import BOTTOM, SHAPES, TOP, PanelPlot
from orchestrator.report.figures.rates import MOST, draw_rates
from orchestrator.summary.summarise import summarise
from tests.orchestrator.report.pages import Page, run, written


def plot(rows: Sequence[dict[str, Any]]) -> PanelPlot:
    drawn = draw_rates("boolq", summarise(rows, {})["tasks"]["boolq"]["methods"])
    assert drawn is not None
    return drawn


def grid(method: str, rates: Sequence[float], seeds: int = 3, level: float = 0.6) -> list[dict[str, Any]]:
    return [
        run("boolq", method, seed, level + 0.02 * place + 0.01 * seed, lr=lr)
        for place, lr in enumerate(rates)
        for seed in range(seeds)
    ]


RATES = (1e-4, 3e-4, 1e-3)


def test_each_rate_has_its_mean_and_interval_on_validation_and_on_test() -> None:
    rows = grid("d2lora", RATES)
    by_lr = summarise(rows, {})["tasks"]["boolq"]["methods"]["d2lora"]["by_lr"]
    figure = plot(rows)
    assert [panel.name for panel in figure.panels] == ["validation", "test"]
    means = {"validation": "validation_mean", "test": "mean"}
    intervals = {"validation": "validation_interval", "test": "interval"}
    scale = None
    for panel in figure.panels:
        (line,) = panel.lines
        for mark, one in zip(line.marks, by_lr.values(), strict=True):
            low, high = one[intervals[panel.name]]  # type: ignore[literal-required]
            assert mark.ends is not None
            assert (mark.ends[0] + mark.ends[1]) / 2 == pytest.approx(mark.y, abs=0.02)
            each = (mark.ends[0] - mark.ends[1]) / (high - low)
            scale = scale or each
            assert each == pytest.approx(scale, rel=1e-3)  # both panels have one scale; positions are rounded
            middle = one[means[panel.name]]  # type: ignore[literal-required]
            assert low < middle < high
        ys = [mark.y for mark in line.marks]
        assert ys == sorted(ys, reverse=True)  # better is higher
        assert all(TOP <= end <= BOTTOM for mark in line.marks for end in mark.ends or ())


def test_one_seed_has_no_interval() -> None:
    marks = [mark for panel in plot(grid("d2lora", RATES, seeds=1)).panels for mark in panel.lines[0].marks]
    assert len(marks) == 6
    assert all(mark.ends is None for mark in marks)


def test_what_diverged_or_failed_is_marked_at_its_rate_even_where_no_seed_is_left() -> None:
    rows = grid("d2lora", RATES) + grid("lora", RATES[:2])
    rows += [run("boolq", "lora", seed, None, lr=1e-3, status="diverged") for seed in range(3)]
    rows += [run("boolq", "lora", 3, None, lr=3e-4, status="failed")]
    figure = plot(rows)
    for panel in figure.panels:
        ours, theirs = panel.lines
        assert (len(ours.marks), len(theirs.marks)) == (3, 2)
        (lost,) = panel.lost
        assert lost.look.label == "lora"
        assert [sign.label for sign in lost.signs] == ["!", "\N{MULTIPLICATION SIGN}3"]
        assert lost.signs[0].x == theirs.marks[1].x
        assert lost.signs[1].x - theirs.marks[1].x == pytest.approx(ours.marks[2].x - ours.marks[1].x, abs=0.02)
        assert all(200 < sign.y < figure.bottom for sign in lost.signs)
        assert "3 diverged at 1e-3" in panel.words
    assert figure.legend[1].note == "1 failed at 3e-4; 3 diverged at 1e-3"
    assert "diverged" in figure.help
    assert "diverged" not in plot(grid("d2lora", RATES)).help


def test_what_a_race_left_is_hollow_and_what_validation_chose_has_a_ring() -> None:
    rows = grid("d2lora", RATES)
    rows += [run("boolq", "d2lora", 3, None, lr=1e-4, status="dropped")]
    figure = plot(rows)
    for panel in figure.panels:
        assert [mark.hollow for mark in panel.lines[0].marks] == [True, False, False]
        assert [mark.ringed for mark in panel.lines[0].marks] == [False, False, True]
        assert not panel.lost
    assert figure.legend[0].note == "1 not trained at 1e-4"
    assert "hollow" in figure.help


def test_what_was_stopped_at_a_rung_is_marked_at_its_rate_and_leaves_a_hollow_mean_without_an_interval() -> None:
    rows = [one for one in grid("d2lora", RATES) if (one["lr"], one["seed"]) != (RATES[1], 2)]
    rows += [run("boolq", "d2lora", 2, None, lr=RATES[1], status="stopped")]
    rows += [run("boolq", "d2lora", seed, None, lr=1e-2, status="stopped") for seed in range(3)]
    figure = plot(rows)
    for panel in figure.panels:
        assert [mark.hollow for mark in panel.lines[0].marks] == [False, True, False]
        assert [mark.ends is None for mark in panel.lines[0].marks] == [False, True, False]
        assert [sign.label for sign in panel.lost[0].signs] == ["\N{WHITE SQUARE}", "\N{WHITE SQUARE}3"]
    assert figure.legend[0].note == "1 stopped at 3e-4; 3 stopped at 0.01"
    assert "stopped at a rung" in figure.help
    assert "diverged" not in figure.help
    table = csv.DictReader(unquote(figure.csv).partition(",")[2].splitlines())
    assert [row["stopped"] for row in table] == ["0", "1", "0", "3"]


def test_one_rate_is_a_sentence_and_no_figure(tmp_path: Path) -> None:
    rows = grid("d2lora", [3e-4])
    assert draw_rates("boolq", summarise(rows, {})["tasks"]["boolq"]["methods"]) is None
    page = Page(written(tmp_path, rows)[0])
    assert "One learning rate was tried, 3e-4, so how much these figures depend on it is not known." in page.text
    assert not [one for one in page.all("figure") if one.get("class") == "panels"]


def test_a_few_rates_are_evenly_spaced_and_many_keep_their_ratios() -> None:
    few = in_order("rate", [1e-4, 1e-2, 1.1e-2], str)
    gaps = [after.x - before.x for before, after in zip(few.labels, few.labels[1:], strict=False)]
    assert gaps[0] == pytest.approx(gaps[1], abs=0.02)
    many = logarithmic("rate", [1e-5, 1e-4, 1e-2], str)
    assert many.x(1e-2) - many.x(1e-4) == pytest.approx(2 * (many.x(1e-4) - many.x(1e-5)), abs=0.02)
    rates = [10 ** (-5 + index / 4) for index in range(12)]
    labels = [place.label for place in plot(grid("d2lora", rates)).across]
    assert labels == ["1e-5", "1e-4", "1e-3"]


@pytest.mark.parametrize(("low", "high"), [(1e-9, 0.5), (1e-6, 0.5), (1e-4, 1e-3), (1.1e-3, 1.9e-3), (2e-4, 7e-4)])
def test_a_logarithmic_axis_has_two_to_six_labels_within_it(low: float, high: float) -> None:
    labels = logarithmic("rate", [low, high], "{:g}".format).labels
    assert 2 <= len(labels) <= 6
    assert all(12 <= place.x <= 96 for place in labels)


def test_no_two_of_thirty_lines_look_alike_and_none_is_told_by_its_colour_alone() -> None:
    looks = [(index % 6, SHAPES[index % len(SHAPES)]) for index in range(30)]
    assert len(set(looks)) == 30
    figure = plot([row for index in range(MOST) for row in grid(f"m{index}", RATES)])
    assert len({(look.style, look.shape) for look in figure.legend}) == MOST


def test_too_many_methods_are_the_best_of_them_and_the_csv_has_all() -> None:
    figure = plot([row for index in range(MOST + 3) for row in grid(f"m{index}", RATES, level=0.5 + 0.01 * index)])
    assert figure.title.endswith(f"the best {MOST} of {MOST + 3} methods")
    assert [look.label for look in figure.legend] == [f"m{index}" for index in range(3, MOST + 3)]
    table = list(csv.DictReader(unquote(figure.csv).partition(",")[2].splitlines()))
    assert len(table) == len(RATES) * (MOST + 3)


def test_the_csv_has_every_number_of_the_figure() -> None:
    rows = [*grid("d2lora", RATES), run("boolq", "d2lora", 3, None, lr=1e-3, status="diverged")]
    one = summarise(rows, {})["tasks"]["boolq"]["methods"]["d2lora"]["by_lr"]["0.001"]
    table = list(csv.DictReader(unquote(plot(rows).csv).partition(",")[2].splitlines()))
    last = table[-1]
    assert [each["chosen"] for each in table] == ["0", "1", "0"]  # the highest mean has lost a run
    assert one["interval"] is not None
    assert one["validation_interval"] is not None
    assert [float(last[name]) for name in ("test_mean", "test_low", "test_high")] == [one["mean"], *one["interval"]]
    names = ("validation_mean", "validation_low", "validation_high")
    assert [float(last[name]) for name in names] == [one["validation_mean"], *one["validation_interval"]]
    assert [last[name] for name in ("seeds", "diverged", "failed", "dropped")] == ["3", "1", "0", "0"]


def test_a_summary_of_before_has_no_interval_on_validation_and_still_a_figure() -> None:
    methods = summarise(grid("d2lora", RATES), {})["tasks"]["boolq"]["methods"]
    for one in methods["d2lora"]["by_lr"].values():
        del one["validation_interval"]  # type: ignore[misc]
    figure = draw_rates("boolq", methods)
    assert figure is not None
    assert [[mark.ends is None for mark in panel.lines[0].marks] for panel in figure.panels] == [
        [True] * 3,
        [False] * 3,
    ]
