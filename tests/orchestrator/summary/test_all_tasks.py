"""Averages over tasks."""

from __future__ import annotations

import statistics

import pytest

from orchestrator.summary.summarise import summarise
from orchestrator.summary.summary import summary_of
from tests.helpers.result_rows import OURS, THEIRS, left_by_rungs, runs


def test_the_macro_average_counts_every_task_once_and_only_seeds_that_finished_all() -> None:
    rows = runs("d2lora", [0.6, 0.7, 0.8], task="a") + runs("d2lora", [0.4, 0.5], task="b")
    average = summary_of(rows, {})["macro"]["methods"]["d2lora"]
    assert average["mean"] == pytest.approx((0.7 + 0.45) / 2, abs=1e-9)
    assert average["n"] == 2
    assert average["seed_mean"] == pytest.approx(0.55, abs=1e-9)
    assert average["sd"] == pytest.approx(statistics.stdev([0.5, 0.6]), abs=1e-9)


def test_a_method_that_lacks_a_task_has_no_macro_average() -> None:
    rows = runs("d2lora", OURS, task="a") + runs("lora", THEIRS, task="a") + runs("d2lora", OURS, task="b")
    summary = summary_of(rows, {})
    assert summary["macro"]["methods"]["lora"]["mean"] is None
    assert "not comparable (fewer than 2 shared seeds) with lora" in summary["headline"]


def test_an_average_over_tasks_is_of_no_task_whose_seeds_were_selected_at_rungs() -> None:
    whole = [*runs("d2lora", OURS), *runs("d2lora", OURS, task="boolq"), *runs("lora", THEIRS)]
    averages = summary_of([*whole, *left_by_rungs("lora", THEIRS[:4], 5, task="boolq")], {})["macro"]["methods"]
    assert (averages["lora"]["mean"], averages["lora"]["tasks"], averages["lora"]["stopped"]) == (None, 1, 1)
    assert averages["d2lora"]["mean"] == pytest.approx(statistics.fmean(OURS), abs=1e-9)
    alone = summary_of(left_by_rungs("lora", THEIRS[:2], 3), {})
    assert alone["headline"].startswith("lora has no average on arc_easy: seeds were stopped at rungs; ")


def test_the_interval_of_an_average_stays_within_the_range_of_an_accuracy() -> None:
    high = [one for task in ("a", "b") for one in runs("d2lora", [0.99, 0.90, 1.0], task=task)]
    low = [one for task in ("a", "b") for one in runs("lora", [0.01, 0.10, 0.0], task=task)]
    macro = summarise(high + low, {})["macro"]
    assert macro["methods"]["d2lora"]["interval"] == pytest.approx([0.8265, 1.0], abs=5e-5)
    assert macro["methods"]["lora"]["interval"] == pytest.approx([0.0, 0.1735], abs=5e-5)
    assert macro["differences"][0]["interval"] == pytest.approx([0.6530, 1.0], abs=5e-5)
