"""The reference against each other method: what is paired, tested and corrected."""

from __future__ import annotations

import math
import random
import statistics
from typing import Any

import pytest
from scipy import stats

from orchestrator.summary.comparisons import difference
from orchestrator.summary.summarise import summarise
from orchestrator.summary.summary import summary_of
from tests.helpers.result_rows import OURS, THEIRS, answers, left_by_rungs, row, runs


def test_methods_are_paired_by_seed_as_in_scipys_paired_test() -> None:
    rows = runs("lora", THEIRS) + runs("d2lora", OURS)
    (pair,) = summarise(rows, {})["tasks"]["arc_easy"]["differences"]
    expected = stats.ttest_rel(OURS, THEIRS)
    assert (pair["first"], pair["second"], pair["n"]) == ("d2lora", "lora", 5)
    assert pair["mean"] == pytest.approx(statistics.fmean(OURS) - statistics.fmean(THEIRS), abs=1e-9)
    assert pair["p"] == pytest.approx(expected.pvalue, abs=1e-9)
    assert pair["interval"] == pytest.approx(list(expected.confidence_interval()), abs=1e-9)
    assert (pair["p_corrected"], pair["verdict"]) == (pair["p"], "ahead")


def test_only_seeds_that_both_finished_are_paired_and_the_rest_is_listed() -> None:
    rows = runs("d2lora", OURS) + runs("lora", THEIRS[:4]) + [row("lora", 4, status="diverged")]
    (pair,) = summarise(rows, {})["tasks"]["arc_easy"]["differences"]
    assert (pair["seeds"], pair["unpaired"]) == ([0, 1, 2, 3], [4])


def test_identical_methods_tie_with_difference_zero_p_of_one_and_no_interval() -> None:
    (pair,) = summarise(runs("d2lora", OURS) + runs("lora", OURS), {})["tasks"]["arc_easy"]["differences"]
    assert (pair["mean"], pair["sd"], pair["interval"], pair["p"]) == (0.0, 0.0, None, 1.0)
    assert (pair["verdict"], pair["why_unknown"]) == ("tie", None)


def test_equal_differences_have_a_sign_test_and_nothing_that_needs_a_spread() -> None:
    rows = runs("d2lora", [0.72, 0.74]) + runs("lora", [0.70, 0.72])
    (pair,) = summarise(rows, {})["tasks"]["arc_easy"]["differences"]
    assert (pair["sd"], pair["p"], pair["verdict"]) == (0.0, 0.5, "tie")
    assert [pair[key] for key in ("interval", "bootstrap", "detectable", "seeds_for_one_point")] == [None] * 4
    many = runs("d2lora", [0.72] * 7) + runs("lora", [0.70] * 7)
    (pair,) = summarise(many, {})["tasks"]["arc_easy"]["differences"]
    assert (pair["p"], pair["verdict"], pair["interval"], pair["bootstrap"]) == (2**-6, "ahead", None, None)


def test_an_interval_of_a_difference_stays_within_100_points() -> None:
    rows = runs("d2lora", [0.99, 0.90, 1.0]) + runs("lora", [0.01, 0.10, 0.0])
    (pair,) = summarise(rows, {})["tasks"]["arc_easy"]["differences"]
    assert pair["interval"] == pytest.approx([0.653, 1.0], abs=5e-4)
    rows = runs("lora", [0.99, 0.90, 1.0]) + runs("d2lora", [0.01, 0.10, 0.0])
    (pair,) = summarise(rows, {})["tasks"]["arc_easy"]["differences"]
    assert pair["interval"] == pytest.approx([-1.0, -0.653], abs=5e-4)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (runs("d2lora", OURS) + runs("lora", THEIRS[:1]), "few seeds"),
        (runs("d2lora", OURS[:3]) + left_by_rungs("lora", THEIRS[:2], 3), "stopped seeds"),
        (
            [
                one | {"init_seed": one["seed"] // 2, "data_seed": one["seed"] % 2}
                for one in runs("d2lora", OURS[:4]) + runs("lora", THEIRS[:4])
            ],
            "crossed seeds",
        ),
        (runs("d2lora", OURS) + runs("lora", THEIRS), None),
    ],
)
def test_a_difference_says_why_it_has_no_verdict(rows: list[dict[str, Any]], why: str | None) -> None:
    summary = summarise(rows, {})
    for pair in (*summary["tasks"]["arc_easy"]["differences"], *summary["macro"]["differences"]):
        assert pair["why_unknown"] == why
        assert (pair["verdict"] == "unknown") == (why is not None)


def test_a_worse_reference_is_behind() -> None:
    (pair,) = summarise(runs("d2lora", THEIRS) + runs("lora", OURS), {})["tasks"]["arc_easy"]["differences"]
    assert pair["verdict"] == "behind"


def test_p_values_are_corrected_over_the_references_comparisons_on_all_tasks() -> None:
    accuracies = {"lora": THEIRS, "d2lora": OURS, "dora": OURS[::-1]}
    rows = [one for task in ("a", "b") for name, values in accuracies.items() for one in runs(name, values, task=task)]
    summary = summarise(rows, {})
    pairs = [pair for task in summary["tasks"].values() for pair in task["differences"]]
    assert [(pair["first"], pair["second"]) for pair in pairs] == 2 * [("d2lora", "lora"), ("d2lora", "dora")]
    smallest = min(pair["p"] for pair in pairs if pair["p"] is not None)
    assert min(pair["p_corrected"] for pair in pairs if pair["p_corrected"] is not None) == pytest.approx(
        4 * smallest, abs=1e-12
    )
    assert "over all 4 comparisons of d2lora with another method" in " ".join(summary_of(rows, {})["claims"])


def test_items_are_compared_pooled_over_seeds_and_once_each() -> None:
    rows = runs("d2lora", [0.8, 0.8]) + runs("lora", [0.4, 0.4])
    ours, theirs = [True] * 8 + [False] * 2, [True] * 3 + [False] * 6 + [True]
    predictions = {r["run_key"]: answers(ours if r["method"] == "d2lora" else theirs) for r in rows}
    (pair,) = summarise(rows, predictions)["tasks"]["arc_easy"]["differences"]
    assert pair["pooled"] is not None
    assert pair["by_item"] is not None
    assert (pair["pooled"]["wins"], pair["pooled"]["losses"]) == (10, 2)
    assert pair["pooled"]["p"] == pytest.approx(stats.binomtest(10, 12).pvalue, abs=1e-9)
    assert (pair["by_item"]["wins"], pair["by_item"]["losses"]) == (5, 1)
    assert pair["by_item"]["p_corrected"] == pytest.approx(stats.binomtest(5, 6).pvalue, abs=1e-9)


def test_an_item_that_seeds_disagree_on_counts_for_neither_method() -> None:
    rows = runs("d2lora", [0.5, 0.5]) + runs("lora", [0.5, 0.5])
    right = [[True], [False], [False], [True]]
    predictions = {r["run_key"]: answers(marks) for r, marks in zip(rows, right, strict=True)}
    (pair,) = summarise(rows, predictions)["tasks"]["arc_easy"]["differences"]
    assert pair["pooled"] is not None
    assert pair["by_item"] is not None
    assert (pair["pooled"]["wins"], pair["pooled"]["losses"]) == (1, 1)
    assert (pair["by_item"]["wins"], pair["by_item"]["losses"], pair["by_item"]["p"]) == (0, 0, 1.0)


def test_runs_that_answered_different_items_cannot_be_paired() -> None:
    rows = [row("d2lora"), row("lora")]
    predictions = {rows[0]["run_key"]: answers([True] * 3), rows[1]["run_key"]: answers([True] * 2)}
    with pytest.raises(ValueError, match=r"answered different items \(3 and 2\)"):
        summarise(rows, predictions)


def test_no_counts_of_right_answers_break_a_summary() -> None:
    generator = random.Random(0)
    ties = 0
    for trial in range(300):
        pair = [[generator.randint(250, 260) / 384 for _ in range(3)] for _ in range(2)]
        compared = difference(("d2lora", "lora"), *(dict(enumerate(values)) for values in pair))
        balanced = sum(round(384 * share) for share in pair[0]) == sum(round(384 * share) for share in pair[1])
        assert (compared["mean"] == 0) == balanced
        ties += balanced
        if balanced or trial % 10 == 0:
            summary = summarise(runs("d2lora", pair[0]) + runs("lora", pair[1]), {})
            assert summary["tasks"]["arc_easy"]["differences"][0]["mean"] == compared["mean"]
    assert ties > 10


def test_identical_predictions_are_a_tie_with_p_of_one_at_every_level() -> None:
    rows = runs("d2lora", OURS) + runs("lora", THEIRS) + runs("twin", OURS)
    marks = {seed: [(item + seed) % 3 > 0 for item in range(20)] for seed in range(5)}
    predictions = {one["run_key"]: answers(marks[one["seed"]]) for one in rows}
    summary = summarise(rows, predictions)
    task = summary["tasks"]["arc_easy"]
    (pair,) = (pair for pair in task["differences"] if pair["second"] == "twin")
    assert (pair["p"], pair["p_corrected"], pair["verdict"]) == (1.0, 1.0, "tie")
    assert pair["pooled"] == {"wins": 0, "losses": 0, "p": 1.0, "p_corrected": 1.0}
    assert [(one["p"], one["p_corrected"], one["interval"]) for one in pair["by_seed"]] == 5 * [(1.0, 1.0, [0.0, 0.0])]
    assert task["tie_groups"] == [
        {"leader": "d2lora", "methods": ["d2lora", "twin"], "standing": "tie"},
        {"leader": "lora", "methods": ["lora"], "standing": "behind"},
    ]


def test_two_identical_methods_that_are_not_the_reference_share_a_group() -> None:
    worse = [each - 0.1 for each in THEIRS]
    rows = runs("d2lora", OURS) + runs("worse", worse) + runs("a", THEIRS) + runs("b", THEIRS)
    summary = summarise(rows, {})
    for groups in (summary["macro"]["tie_groups"], summary["tasks"]["arc_easy"]["tie_groups"]):
        assert [group["methods"] for group in groups] == [["d2lora"], ["a", "b", "worse"]]


def test_each_seed_has_its_exact_mcnemar_test_corrected_over_all_of_them() -> None:
    rows = runs("d2lora", [0.9, 0.5]) + runs("lora", [0.1, 0.5])
    right = [[True] * 9 + [False], [True, False] * 5, [True] + [False] * 9, [False, True] * 5]
    predictions = {one["run_key"]: answers(marks) for one, marks in zip(rows, right, strict=True)}
    (pair,) = summarise(rows, predictions)["tasks"]["arc_easy"]["differences"]
    first, second = pair["by_seed"]
    assert (first["seed"], first["items"], first["wins"], first["losses"]) == (0, 10, 8, 0)
    assert first["p"] == pytest.approx(2 / 2**8, abs=1e-12)
    assert first["p_corrected"] == pytest.approx(4 / 2**8, abs=1e-12)
    assert (second["wins"], second["losses"], second["p"]) == (5, 5, 1.0)
    assert first["interval"][0] > 0 > second["interval"][0]


def test_the_reference_meets_each_other_method_once_so_twice_the_methods_are_twice_the_work() -> None:
    class Counted(dict[str, Any]):
        reads = 0

        def __getitem__(self, key: str) -> Any:
            Counted.reads += 1
            return super().__getitem__(key)

    reads = []
    for methods in (8, 16):
        Counted.reads = 0
        rows = [Counted(one) for place in range(methods) for one in runs(f"m{place}", OURS)]
        summary = summarise(rows, {})
        reads.append(Counted.reads)
        assert len(summary["tasks"]["arc_easy"]["differences"]) == methods - 1
        assert len(summary["macro"]["differences"]) == methods - 1
    assert reads[1] <= 2 * reads[0]


def test_a_method_compared_on_no_task_of_the_reference_is_left_alone() -> None:
    rows = runs("d2lora", OURS, task="a") + runs("lora", THEIRS, task="b") + runs("dora", OURS, task="b")
    assert summarise(rows, {})["tasks"]["b"]["differences"] == []


def test_the_interval_of_a_volatility_does_not_go_below_0() -> None:
    values = [0.01, 0.2]
    rows = [
        {**row, "train_loss_volatility": values[row["seed"]], "train_loss_change": 0.1}
        for row in runs("lora", [0.7, 0.8])
    ]
    low, high = summarise(rows, {})["tasks"]["arc_easy"]["methods"]["lora"]["volatility_interval"]
    assert low == 0.0
    assert high > statistics.fmean(values)


def test_volatility_has_its_interval_across_seeds_and_its_ratio_paired_by_seed() -> None:
    ours, theirs = [0.10, 0.12, 0.11], [0.15, 0.20, 0.16]
    rows = [
        {**one, "train_loss_volatility": values[one["seed"]], "train_loss_change": 2 * values[one["seed"]]}
        for name, values in (("d2lora", ours), ("lora", theirs))
        for one in runs(name, [0.7, 0.71, 0.72])
    ]
    task = summarise(rows, {})["tasks"]["arc_easy"]
    interval = stats.t.interval(0.95, 2, loc=statistics.fmean(ours), scale=stats.sem(ours))
    assert task["methods"]["d2lora"]["volatility_interval"] == pytest.approx(list(interval), abs=1e-12)
    assert task["methods"]["d2lora"]["loss_change"] == pytest.approx(0.22, abs=1e-12)
    ratio = task["differences"][0]["volatility_ratio"]
    logs = stats.ttest_rel([math.log(one) for one in ours], [math.log(one) for one in theirs])
    assert ratio is not None
    assert ratio["ratio"] == pytest.approx(stats.gmean([a / b for a, b in zip(ours, theirs, strict=True)]), abs=1e-12)
    assert ratio["interval"] == pytest.approx([math.exp(end) for end in logs.confidence_interval()], abs=1e-12)


def test_a_tie_whose_mean_is_only_rounding_is_a_tie_of_zero() -> None:
    rows = runs("d2lora", [0.8, 0.6, 0.7]) + runs("lora", [0.7, 0.7, 0.7])
    (pair,) = summarise(rows, {})["tasks"]["arc_easy"]["differences"]
    assert (pair["mean"], pair["verdict"]) == (0.0, "tie")
    claims = " ".join(summary_of(rows, {})["claims"])
    assert "A tie is not equality" in claims
    assert "points seen are true" not in claims
