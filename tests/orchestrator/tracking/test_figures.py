"""Figures of a sweep's parents: a band is what was seen, and drawing leaves no state behind."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orchestrator.files import read_lines
from orchestrator.report.figures.axis import FEW
from orchestrator.report.figures.rates import DIVERGED, FAILED, STOPPED
from orchestrator.report.loss_curves import Band, chosen, curve_band
from orchestrator.summary.summarise import summarise
from orchestrator.tracking.figures import artefacts
from orchestrator.tracking.figures.accuracy import accuracy_figure
from orchestrator.tracking.figures.best_of import best_of_figure
from orchestrator.tracking.figures.charts import write_charts
from orchestrator.tracking.figures.rates import rates_figure
from orchestrator.tracking.figures.tables import ACCURACY_TABLE
from tests.helpers.tracked.tracked_sweep import DIVERGED as WILD
from tests.helpers.tracked.tracked_sweep import RUNS, write_sweep
from tests.orchestrator.report.test_page import run


def test_a_band_is_the_mean_the_lowest_and_the_highest_seed_at_each_step() -> None:
    curves = [[(0, 3.0), (1, 2.0)], [(0, 5.0), (1, 1.0)], [(0, 4.0), (1, 3.0)]]
    assert curve_band(curves) == Band([0.0, 1.0], [4.0, 2.0], [3.0, 1.0], [5.0, 3.0], 3)


def test_a_seed_that_has_fewer_steps_shortens_the_band_and_none_leaves_none() -> None:
    band = curve_band([[(0, 3.0), (1, 2.0), (2, 1.0)], [(0, 5.0), (2, 3.0)]])
    assert band is not None
    assert (band.steps, band.mean) == ([0.0, 2.0], [4.0, 2.0])
    assert curve_band([[(0, 1.0)], [(1, 1.0)]]) is None
    assert curve_band([]) is None


@pytest.mark.parametrize("steps", [7, 100, 101, 1234])
def test_a_long_curve_is_averaged_over_parts_that_hold_every_step_once(steps: int) -> None:
    losses = np.random.default_rng(0).random(steps)
    band = curve_band([list(enumerate(losses.tolist()))])
    assert band is not None
    parts = np.array_split(losses, min(100, steps))
    assert len(band.mean) == min(100, steps)
    widths = np.diff(np.linspace(0, steps, min(100, steps) + 1).astype(int))
    assert np.dot(band.mean, widths) / steps == pytest.approx(losses.mean(), abs=1e-12)
    assert max(widths) - min(widths) <= 1
    assert band.low == band.mean == band.high
    if steps <= 100:
        assert band.mean == [part[0] for part in parts]


def test_a_figure_has_a_panel_a_task_and_draws_intervals_seeds_and_the_base(tmp_path: Path) -> None:
    summary = write_sweep(tmp_path)
    rows = read_lines(tmp_path / "results.jsonl")
    figure = accuracy_figure(summary, rows)
    assert [axes.get_title() for axes in figure.axes] == ["boolq", "arc_easy"]
    for axes, content in zip(figure.axes, summary["tasks"].values(), strict=True):
        drawn: dict[str, list[Any]] = {}
        for line in axes.get_lines():
            drawn.setdefault(str(line.get_label()), []).append(line.get_xdata())
        methods = content["methods"].values()
        assert [x[0] for x in drawn["mean"]] == [100 * one["mean"] for one in methods]
        assert [len(x) for x in drawn["a seed"]] == [one["n"] for one in methods]
        assert drawn["untrained base"][0] == [40.0, 40.0]
        assert len(axes.collections) == len(methods)  # an interval each


def test_a_method_with_one_seed_has_no_interval_and_one_without_a_run_no_mark(tmp_path: Path) -> None:
    summary = write_sweep(tmp_path)
    one, other = summary["tasks"]["boolq"]["methods"].values()
    one |= {"n": 1, "sd": None, "interval": None}
    other |= {"n": 0, "mean": None, "interval": None}
    axes = accuracy_figure({"tasks": {"boolq": summary["tasks"]["boolq"]}}, []).axes[0]
    assert not axes.collections
    assert sum(line.get_label() == "mean" for line in axes.get_lines()) == 1


def test_too_many_methods_for_a_panel_are_the_best_and_the_title_says_so(tmp_path: Path) -> None:
    summary = write_sweep(tmp_path)
    one = summary["tasks"]["boolq"]["methods"]["lora"]
    methods = {f"m{index}": one | {"mean": index / 100} for index in range(30)}
    axes = accuracy_figure({"tasks": {"boolq": {"methods": methods}}}, []).axes[0]
    assert axes.get_title() == "boolq: the best 24 of 30, all in tables/accuracy.json"
    assert [label.get_text().split()[0] for label in axes.get_yticklabels()] == [f"m{i}" for i in range(6, 30)]


def test_rates_have_means_and_intervals_and_whatever_diverged_a_sign_below(tmp_path: Path) -> None:
    summary = write_sweep(tmp_path)
    figure = rates_figure(summary)
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes] == ["boolq", "arc_easy"]
    for axes, content in zip(figure.axes, summary["tasks"].values(), strict=True):
        drawn = {str(line.get_label()): list(line.get_ydata()) for line in axes.get_lines()}
        for label, one in content["methods"].items():
            assert drawn[label] == [100 * cell["mean"] for cell in one["by_lr"].values()]
        assert len(axes.collections) == sum(len(one["by_lr"]) for one in content["methods"].values())  # intervals
        lost = [one["by_lr"]["0.0002"]["diverged"] for one in content["methods"].values()]
        assert [(text.get_text(), text.get_position()[0]) for text in axes.texts] == [(DIVERGED, 1)] * sum(lost)
        assert axes.get_xlabel() == "learning rate" + (f"\n{DIVERGED} diverged" if sum(lost) else "")
        assert [label.get_text() for label in axes.get_xticklabels()] == ["1e-4", "2e-4"]
    assert WILD.spec.task.name == "arc_easy"


@pytest.mark.parametrize("few", [True, False])
def test_a_rate_that_has_lost_all_its_seeds_is_in_the_figure_with_the_reports_signs(few: bool) -> None:
    rates = [1e-5 * 2**index for index in range(4 if few else FEW + 1)]
    gone, beaten = rates[0], rates[-1]
    of = {gone: "failed", beaten: "stopped"}
    rows = [run("boolq", "lora", seed, 0.6, lr=lr, status=of.get(lr, "committed")) for lr in rates for seed in range(3)]
    rows[3] |= {"status": "stopped"}
    figure = rates_figure({**summarise(rows, {})})
    assert figure is not None
    (axes,) = figure.axes
    signs = {text.get_position()[0]: text.get_text() for text in axes.texts}
    places = range(len(rates)) if few else rates
    assert signs == {places[0]: f"{FAILED}3", places[1]: STOPPED, places[-1]: f"{STOPPED}3"}
    low, high = axes.get_xlim()
    assert low < places[0]
    assert places[-1] < high
    assert axes.get_xlabel().splitlines() == [
        "learning rate",
        f"{FAILED} failed, {STOPPED} stopped at a rung",
        "hollow: seeds left by a search",
    ]


def test_budgets_have_a_line_a_method_over_the_settings_tried(tmp_path: Path) -> None:
    summary = write_sweep(tmp_path)
    summary["tasks"]["arc_easy"]["families"] = {"lora": summary["tasks"]["arc_easy"]["families"]["lora"][:1]}
    figure = best_of_figure(summary)
    assert figure is not None
    (axes,) = figure.axes  # one setting each is no panel
    assert axes.get_title() == "boolq"
    drawn = {str(line.get_label()): list(zip(*line.get_data(), strict=True)) for line in axes.get_lines()}
    assert drawn == {
        name: [(one["n"], 100 * one["test"]) for one in curve]
        for name, curve in summary["tasks"]["boolq"]["families"].items()
    }
    del summary["tasks"]["boolq"]
    assert best_of_figure(summary) is None


def test_charts_are_small_squares_that_are_told_apart_by_task(tmp_path: Path) -> None:
    summary = write_sweep(tmp_path)
    charts = write_charts(summary, read_lines(tmp_path / "results.jsonl"), tmp_path / "charts")
    kinds = ("accuracy", "learning rates", "best of n")
    assert list(charts) == [f"{kind} {task}" for task in ("boolq", "arc_easy") for kind in kinds]
    for path in charts.values():
        with Image.open(path) as picture:
            assert picture.size == (396, 396)
    assert len({path.read_bytes() for path in charts.values()}) == 6


def test_one_rate_a_method_is_no_figure_of_rates_and_no_file(tmp_path: Path) -> None:
    summary = write_sweep(tmp_path)
    for content in summary["tasks"].values():
        for one in content["methods"].values():
            one["by_lr"] = {"0.0001": one["by_lr"]["0.0001"]}
    assert rates_figure(summary) is None
    artefacts.write_sweep_files(summary, [], tmp_path, tmp_path / "shown")
    assert not (tmp_path / "shown" / artefacts.RATES).exists()


def test_the_same_folder_gives_the_same_bytes_and_pyplot_is_not_loaded(tmp_path: Path) -> None:
    summary = write_sweep(tmp_path / "sweep")
    rows = read_lines(tmp_path / "sweep" / "results.jsonl")
    there = "matplotlib.pyplot" in sys.modules
    for place in ("a", "b"):
        artefacts.write_sweep_files(summary, rows, tmp_path / "sweep", tmp_path / place)
    assert ("matplotlib.pyplot" in sys.modules) == there
    names = sorted(str(file.relative_to(tmp_path / "a")) for file in (tmp_path / "a").rglob("*.*"))
    assert names == [artefacts.ACCURACY, artefacts.BEST_OF, artefacts.CURVES, artefacts.RATES, ACCURACY_TABLE]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    table = json.loads((tmp_path / "a" / ACCURACY_TABLE).read_text())
    means = {(row[0], row[1]): row[table["columns"].index("mean_accuracy")] for row in table["data"]}
    assert means["boolq", "lora"] == summary["tasks"]["boolq"]["methods"]["lora"]["mean"]


def test_a_curve_is_drawn_at_the_chosen_rate_and_a_diverged_run_is_in_no_band(tmp_path: Path) -> None:
    summary = write_sweep(tmp_path)
    rows = read_lines(tmp_path / "results.jsonl")
    method = RUNS[-1].spec.method.label
    one = summary["tasks"]["arc_easy"]["methods"][method]["by_lr"]["0.0002"]
    matching = chosen(rows, "arc_easy", method, one)
    assert [row["seed"] for row in matching] == [0, 1]
    assert {row["lr"] for row in matching} == {2e-4}
