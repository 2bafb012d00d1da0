"""Best of n as a figure: a line a family of methods, as long as its evidence, drawn as its first method is."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from orchestrator.report.figures.axis import counted
from orchestrator.report.figures.best_of import draw_best_of
from orchestrator.summary.summarise import summarise
from tests.orchestrator.report.pages import Page, run, written


def rows() -> list[dict[str, Any]]:
    drawn = []
    for label, name, level in (
        ("lora", "lora", 0.60),
        ("d2lora(r=2)", "d2lora", 0.62),
        ("d2lora(r=4)", "d2lora", 0.64),
    ):
        for lr in (1e-4, 3e-4):
            each = [run("boolq", label, seed, level + 20 * lr + 0.01 * seed, lr=lr) for seed in range(2)]
            drawn += [one | {"settings": {"name": name}} for one in each]
    return drawn


def test_a_line_is_as_long_as_the_settings_tried_and_ends_at_what_was_chosen() -> None:
    task = summarise(rows(), {})["tasks"]["boolq"]
    figure = draw_best_of("boolq", task["families"], {"lora": 0, "d2lora": 1})
    assert figure is not None
    for panel in figure.panels:
        assert [len(line.marks) for line in panel.lines] == [2, 4]
        assert [mark.x for mark in panel.lines[0].marks] == [mark.x for mark in panel.lines[1].marks][:2]
    assert [place.label for place in figure.across] == ["1", "2", "3", "4"]
    assert [look.note for look in figure.legend] == ["2 settings: 4 runs, 126 s", "4 settings: 8 runs, 251 s"]
    table = list(csv.DictReader(unquote(figure.csv).partition(",")[2].splitlines()))
    assert [one["n"] for one in table] == ["1", "2", "1", "2", "3", "4"]
    best = task["methods"]["d2lora(r=4)"]
    assert (float(table[-1]["expected_validation"]), float(table[-1]["expected_test"])) == (
        best["validation_mean"],
        best["mean"],
    )


def test_a_family_is_drawn_as_its_first_method_is_elsewhere(tmp_path: Path) -> None:
    text, _ = written(tmp_path, rows())
    figures = [part for part in text.split("<figure") if "task-1-rates.csv" in part or "task-1-budgets.csv" in part]
    looks = [
        [part.split('class="s')[1][0] for part in one.split('<ul class="legend">')[1].split("<li>")[1:]]
        for one in figures
    ]
    assert looks == [["1", "2", "3"], ["1", "2"]]


def test_one_setting_a_method_is_no_figure(tmp_path: Path) -> None:
    alone = [one for one in rows() if one["lr"] == 1e-4 and one["method"] != "d2lora(r=4)"]
    task = summarise(alone, {})["tasks"]["boolq"]
    assert draw_best_of("boolq", task["families"], {"lora": 0, "d2lora": 1}) is None
    assert "Best of n settings" not in Page(written(tmp_path, alone)[0]).text
    assert draw_best_of("boolq", {}, {}) is None


def test_many_settings_are_counted_in_round_steps() -> None:
    assert [place.label for place in counted("n", 24).labels] == ["1", "5", "10", "15", "20"]
    assert [place.label for place in counted("n", 2).labels] == ["1", "2"]
