"""The summary as a whole: its figures, the rows that it refuses, and the order of rows, which changes no figure."""

from __future__ import annotations

import json

import pytest

from orchestrator.summary.summarise import summarise
from tests.helpers.result_rows import OURS, THEIRS, answers, row, runs


def test_without_d2lora_the_first_method_is_the_reference() -> None:
    summary = summarise(runs("dora", OURS) + runs("lora", THEIRS), {})
    assert summary["reference"] == "dora"


def test_the_same_run_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Two results for task 'arc_easy', method 'd2lora', lr 0\.0001, seed 0"):
        summarise([row(), row()], {})


def test_the_order_of_rows_changes_no_figure() -> None:
    rows = runs("d2lora", OURS) + runs("lora", THEIRS)
    shuffled = rows[:1] + rows[:0:-1]
    assert summarise(shuffled, {})["tasks"] == summarise(rows, {})["tasks"]


def test_a_summary_survives_strict_json_unchanged() -> None:
    rows = [*runs("d2lora", OURS), *runs("lora", THEIRS), row("dora", status="diverged")]
    summary = summarise(rows, {rows[0]["run_key"]: answers([True]), rows[5]["run_key"]: answers([False])})
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_one_seed_has_no_interval_of_any_kind_and_no_group() -> None:
    summary = summarise([row(name, task=task) for name in ("d2lora", "lora") for task in ("a", "b")], {})
    text = json.dumps(summary)
    for task in summary["tasks"].values():
        assert task["tie_groups"] == []
        for method in task["methods"].values():
            assert (method["interval"], method["bootstrap"], method["volatility_interval"]) == (None, None, None)
        for pair in task["differences"]:
            assert (pair["interval"], pair["bootstrap"], pair["seeds_for_one_point"]) == (None, None, None)
            assert pair["volatility_ratio"] == {"n": 1, "ratio": 1.0, "interval": None}
    for method in summary["macro"]["methods"].values():
        assert (method["interval"], method["bootstrap"], method["iqm_interval"]) == (None, None, None)
    assert [each["interval"] for each in summary["macro"]["improvement"]] == [None]
    assert "By task" not in text
