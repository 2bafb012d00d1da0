"""Summaries of a sweep: what is averaged, what is compared, and what is said about it."""

from __future__ import annotations

import json
import math
import random
import statistics
from collections.abc import Sequence
from typing import Any

import pytest
from scipy import stats

from orchestrator.summary.comparisons import difference
from orchestrator.summary.rates import choose_rate, summarise_rate
from orchestrator.summary.summarise import loss_volatility, summarise

METRICS = ("accuracy", "validation_accuracy", "train_loss_volatility", "train_seconds", "trainable_parameters")


def row(
    method: str = "d2lora",
    seed: int = 0,
    accuracy: float = 0.7,
    *,
    task: str = "arc_easy",
    lr: float = 1e-4,
    validation: float | None = None,
    status: str = "committed",
    size: int = 100,
) -> dict[str, Any]:
    found = {
        "run_key": f"{task}/{method}/{lr}/{seed}",
        "task": task,
        "method": method,
        "settings": {"rank": 8},
        "lr": lr,
        "seed": seed,
        "status": status,
        "accuracy": accuracy,
        "validation_accuracy": accuracy if validation is None else validation,
        "train_loss_volatility": 0.1,
        "train_seconds": 30.0,
        "trainable_parameters": size,
        "base_accuracy": 0.4,
    }
    return found if status == "committed" else {**found, **dict.fromkeys(METRICS)}


def runs(method: str, accuracies: Sequence[float], **more: Any) -> list[dict[str, Any]]:
    return [row(method, seed, accuracy, **more) for seed, accuracy in enumerate(accuracies)]


def answers(right: Sequence[bool]) -> list[dict[str, Any]]:
    return [{"index": i, "answer": 1, "predicted": int(ok), "scores": [0.0, 1.0]} for i, ok in enumerate(right)]


OURS = [0.720, 0.731, 0.709, 0.725, 0.718]
THEIRS = [0.701, 0.705, 0.697, 0.698, 0.700]


def test_a_method_is_summed_up_by_what_numpy_and_scipy_say_of_its_seeds() -> None:
    found = summarise(runs("d2lora", OURS), {})["tasks"]["arc_easy"]["methods"]["d2lora"]
    interval = stats.t.interval(0.95, 4, loc=statistics.fmean(OURS), scale=stats.sem(OURS))
    assert found["n"] == 5
    assert found["mean"] == pytest.approx(statistics.fmean(OURS), abs=1e-9)
    assert found["sd"] == pytest.approx(stats.tstd(OURS), abs=1e-9)
    assert found["interval"] == pytest.approx(list(interval), abs=1e-9)
    assert (found["worst"], found["worst_seed"]) == (0.709, 2)
    assert (found["base_accuracy"], found["trainable_parameters"]) == (0.4, 100)
    assert found["volatility"] == pytest.approx(0.1, abs=1e-9)


def test_the_rate_is_chosen_on_validation_and_reported_on_test() -> None:
    rows = runs("d2lora", [0.60, 0.62], lr=1e-4, validation=0.75) + runs(
        "d2lora", [0.70, 0.72], lr=3e-4, validation=0.74
    )
    found = summarise(rows, {})["tasks"]["arc_easy"]["methods"]["d2lora"]
    assert (found["lr"], found["validation_mean"]) == (1e-4, 0.75)
    assert found["mean"] == pytest.approx(0.61, abs=1e-9)
    assert found["by_lr"]["0.0003"]["mean"] == pytest.approx(0.71)


def test_the_mean_on_validation_has_an_interval_of_its_own_and_one_seed_gives_none() -> None:
    scores = [0.70, 0.74, 0.75]
    found = summarise_rate([row(lr=1e-4, seed=seed, validation=score) for seed, score in enumerate(scores)])
    expected = stats.t.interval(0.95, 2, loc=statistics.fmean(scores), scale=stats.sem(scores))
    assert found["validation_interval"] == pytest.approx(list(expected), abs=1e-9)
    assert summarise_rate([row(lr=1e-4, seed=0, validation=0.7)])["validation_interval"] is None


def test_equal_validation_goes_to_the_smaller_rate() -> None:
    rates = [summarise_rate([row(lr=lr, seed=seed, validation=v) for seed, v in enumerate(values)])
             for lr, values in ((3e-4, [0.1, 0.2, 0.3]), (1e-4, [0.3, 0.2, 0.1]))]  # fmt: skip
    assert choose_rate(rates)["lr"] == 1e-4


def test_a_rate_that_diverged_loses_to_one_that_did_not_however_good_its_survivors() -> None:
    wild = summarise_rate([row(lr=1e-3, seed=0, validation=0.99), row(lr=1e-3, seed=1, status="diverged")])
    calm = summarise_rate([row(lr=1e-4, seed=0, validation=0.50), row(lr=1e-4, seed=1, validation=0.50)])
    assert choose_rate([wild, calm])["lr"] == 1e-4


def test_failed_seeds_count_as_diverged_ones_do_so_that_one_lucky_seed_chooses_no_rate() -> None:
    lucky = [row(lr=1e-3, validation=0.99), *(row(lr=1e-3, seed=seed, status="failed") for seed in range(1, 5))]
    whole = runs("d2lora", OURS, lr=1e-4, validation=0.50)
    assert choose_rate([summarise_rate(lucky), summarise_rate(whole)])["lr"] == 1e-4
    assert summarise(lucky + whole, {})["tasks"]["arc_easy"]["methods"]["d2lora"]["lr"] == 1e-4


def test_lost_runs_are_summed_whatever_lost_them_and_equal_losses_go_to_validation() -> None:
    one_each = [
        row(lr=1e-4, validation=0.9),
        row(lr=1e-4, seed=1, status="diverged"),
        row(lr=1e-4, seed=2, status="failed"),
    ]
    diverged = [
        row(lr=3e-4, validation=0.7),
        row(lr=3e-4, seed=1, validation=0.7),
        row(lr=3e-4, seed=2, status="diverged"),
    ]
    failed = [row(lr=1e-3, validation=0.6), row(lr=1e-3, seed=1, validation=0.6), row(lr=1e-3, seed=2, status="failed")]
    assert choose_rate([summarise_rate(rows) for rows in (one_each, diverged, failed)])["lr"] == 3e-4


def test_a_rate_that_a_race_dropped_loses_to_one_that_stayed_in_and_is_no_failure() -> None:
    lucky = [row(lr=1e-3, validation=0.99), *(row(lr=1e-3, seed=seed, status="dropped") for seed in range(1, 5))]
    stayed = runs("d2lora", OURS, lr=1e-4, validation=0.50)
    summary = summarise(lucky + stayed, {})
    found = summary["tasks"]["arc_easy"]["methods"]["d2lora"]
    assert (found["lr"], found["dropped"], found["failed"]) == (1e-4, 0, 0)
    assert (found["by_lr"]["0.001"]["dropped"], found["by_lr"]["0.001"]["n"]) == (4, 1)
    assert "The race made 4 of 10 runs needless." in summary["headline"]
    assert "failed" not in summary["headline"]


def test_a_rate_whose_seeds_were_stopped_loses_to_one_that_kept_them_and_nothing_stopped_is_averaged() -> None:
    lucky = [row(lr=1e-3, validation=0.99), *(row(lr=1e-3, seed=seed, status="stopped") for seed in range(1, 5))]
    kept = runs("d2lora", OURS, lr=1e-4, validation=0.50)
    summary = summarise(lucky + kept, {})
    found = summary["tasks"]["arc_easy"]["methods"]["d2lora"]
    assert (found["lr"], found["n"], found["stopped"]) == (1e-4, 5, 0)
    assert found["interval"] is not None
    other = found["by_lr"]["0.001"]
    assert (other["n"], other["stopped"], other["stopped_seeds"]) == (1, 4, [1, 2, 3, 4])
    assert summary["headline"].endswith("4 of 10 runs were stopped at a rung and are in no average.")
    assert found["best_of"] == summary["tasks"]["arc_easy"]["families"]["d2lora"] == []


def test_survivors_of_rungs_have_a_mean_and_no_interval_and_are_compared_with_nothing() -> None:
    """The seeds that are left are those that did well: Student's interval and the paired test would believe them."""
    selected = [
        one | {"status": "stopped", "accuracy": None} if one["seed"] == 2 else one for one in runs("lora", THEIRS)
    ]
    summary = summarise(runs("d2lora", OURS) + selected, {})
    found = summary["tasks"]["arc_easy"]["methods"]["lora"]
    assert (found["n"], found["stopped"]) == (4, 1)
    assert found["mean"] == pytest.approx(statistics.fmean(THEIRS[:2] + THEIRS[3:]), abs=1e-9)
    names = ("sd", "interval", "bootstrap", "volatility_interval", "loss_change_interval", "sources")
    assert [found[name] for name in names] == [None] * len(names)
    (pair,) = summary["tasks"]["arc_easy"]["differences"]
    assert (pair["n"], pair["p"], pair["verdict"]) == (0, None, "unknown")
    average = summary["macro"]["methods"]["lora"]
    assert (average["n"], average["interval"], average["bootstrap"], average["stopped"]) == (0, None, None, 1)
    assert summary["tasks"]["arc_easy"]["methods"]["d2lora"]["interval"] is not None
    assert summary["headline"].endswith(
        "1 of 10 runs was stopped at a rung and is in no average. For lora on arc_easy no rate kept all its seeds: "
        "those left were selected, so no interval and no comparison."
    )


def left_by_rungs(method: str, accuracies: Sequence[float], seeds: int, **more: Any) -> list[dict[str, Any]]:
    stopped = [row(method, seed, status="stopped", **more) for seed in range(len(accuracies), seeds)]
    return [*runs(method, accuracies, **more), *stopped]


def test_one_seed_that_rungs_left_of_three_is_not_told_as_one_seed_that_was_trained() -> None:
    both = left_by_rungs("d2lora", [0.72], 3) + left_by_rungs("lora", [0.70], 3)
    headline = summarise(both, {})["headline"]
    assert headline.startswith(
        "Rungs left at most one seed a method, so nothing can be concluded and no interval is given. 4 of 6 runs"
    )
    assert "72.0" not in headline  # a selected mean is not quoted
    assert "Only one seed" not in headline


def test_methods_that_share_seeds_are_not_comparable_because_rungs_chose_them_and_not_for_want_of_seeds() -> None:
    both = left_by_rungs("d2lora", OURS[:2], 3) + left_by_rungs("lora", THEIRS[:2], 3)
    summary = summarise([*both, *runs("dora", THEIRS[:3])], {})
    headline = summary["headline"]
    assert "d2lora is not comparable (seeds were stopped at rungs) with lora and dora on arc_easy." in headline
    assert "fewer than 2" not in headline
    assert summary["claims"][0].startswith("arc_easy: d2lora 72.5 % (over the 2 seeds that rungs left)")
    mixed = summarise([*runs("d2lora", OURS[:3]), *both[3:], *runs("dora", THEIRS[:1])], {})["headline"]
    assert (
        "d2lora is not comparable (seeds were stopped at rungs) with lora; "
        "not comparable (fewer than 2 shared seeds) with dora on arc_easy." in mixed
    )


def test_an_average_over_tasks_is_of_no_task_whose_seeds_were_selected_at_rungs() -> None:
    whole = [*runs("d2lora", OURS), *runs("d2lora", OURS, task="boolq"), *runs("lora", THEIRS)]
    found = summarise([*whole, *left_by_rungs("lora", THEIRS[:4], 5, task="boolq")], {})["macro"]["methods"]
    assert (found["lora"]["mean"], found["lora"]["tasks"], found["lora"]["stopped"]) == (None, 1, 1)
    assert found["d2lora"]["mean"] == pytest.approx(statistics.fmean(OURS), abs=1e-9)
    alone = summarise(left_by_rungs("lora", THEIRS[:2], 3), {})
    assert alone["headline"].startswith("lora has no average on arc_easy: seeds were stopped at rungs; ")


def test_a_rate_without_a_finished_run_loses_to_any_with_one() -> None:
    lost = summarise_rate([row(lr=1e-4, status="failed")])
    wild = summarise_rate([row(lr=1e-3, validation=0.3), row(lr=1e-3, seed=1, status="diverged")])
    assert choose_rate([lost, wild])["lr"] == 1e-3


def test_lost_runs_are_counted_and_named_and_enter_no_mean() -> None:
    rows = [*runs("d2lora", [0.7, 0.8]), row(seed=2, status="diverged"), row(seed=3, status="failed")]
    summary = summarise(rows, {})
    found = summary["tasks"]["arc_easy"]["methods"]["d2lora"]
    assert found["n"] == 2
    assert found["mean"] == pytest.approx(0.75, abs=1e-9)
    assert (found["diverged_seeds"], found["failed_seeds"]) == ([2], [3])
    assert "Diverged and in no average: d2lora on arc_easy, seed 2 at lr 1e-4." in summary["headline"]
    assert "1 run failed and is missing from these figures." in summary["headline"]


def test_a_seed_that_diverged_at_a_rate_not_chosen_is_named_too() -> None:
    rows = [*runs("d2lora", OURS), row(seed=0, lr=1e-2, status="diverged")]
    assert "seed 0 at lr 0.01" in summarise(rows, {})["headline"]


def test_methods_are_paired_by_seed_as_in_scipys_paired_test() -> None:
    rows = runs("lora", THEIRS) + runs("d2lora", OURS)
    (found,) = summarise(rows, {})["tasks"]["arc_easy"]["differences"]
    expected = stats.ttest_rel(OURS, THEIRS)
    assert (found["first"], found["second"], found["n"]) == ("d2lora", "lora", 5)
    assert found["mean"] == pytest.approx(statistics.fmean(OURS) - statistics.fmean(THEIRS), abs=1e-9)
    assert found["p"] == pytest.approx(expected.pvalue, abs=1e-9)
    assert found["interval"] == pytest.approx(list(expected.confidence_interval()), abs=1e-9)
    assert (found["p_corrected"], found["verdict"]) == (found["p"], "ahead")


def test_only_seeds_that_both_finished_are_paired_and_the_rest_is_listed() -> None:
    rows = runs("d2lora", OURS) + runs("lora", THEIRS[:4]) + [row("lora", 4, status="diverged")]
    (found,) = summarise(rows, {})["tasks"]["arc_easy"]["differences"]
    assert (found["seeds"], found["unpaired"]) == ([0, 1, 2, 3], [4])


def test_identical_methods_tie_with_difference_zero_and_p_of_one() -> None:
    (found,) = summarise(runs("d2lora", OURS) + runs("lora", OURS), {})["tasks"]["arc_easy"]["differences"]
    assert (found["mean"], found["sd"], found["interval"], found["p"]) == (0.0, 0.0, [0.0, 0.0], 1.0)
    assert found["verdict"] == "tie"


def test_a_worse_reference_is_behind() -> None:
    (found,) = summarise(runs("d2lora", THEIRS) + runs("lora", OURS), {})["tasks"]["arc_easy"]["differences"]
    assert found["verdict"] == "behind"


def test_without_d2lora_the_first_method_is_the_reference() -> None:
    summary = summarise(runs("dora", OURS) + runs("lora", THEIRS), {})
    assert summary["reference"] == "dora"


def test_p_values_are_corrected_over_the_references_comparisons_on_all_tasks() -> None:
    rows = [found for task in ("a", "b") for name, values in (("lora", THEIRS), ("d2lora", OURS), ("dora", OURS[::-1]))
            for found in runs(name, values, task=task)]  # fmt: skip
    summary = summarise(rows, {})
    pairs = [pair for task in summary["tasks"].values() for pair in task["differences"]]
    assert [(pair["first"], pair["second"]) for pair in pairs] == 2 * [("d2lora", "lora"), ("d2lora", "dora")]
    smallest = min(pair["p"] for pair in pairs if pair["p"] is not None)
    assert min(pair["p_corrected"] for pair in pairs if pair["p_corrected"] is not None) == pytest.approx(
        4 * smallest, abs=1e-12
    )
    assert "over all 4 comparisons of d2lora with another method" in " ".join(summary["claims"])


def test_items_are_compared_pooled_over_seeds_and_once_each() -> None:
    rows = runs("d2lora", [0.8, 0.8]) + runs("lora", [0.4, 0.4])
    ours, theirs = [True] * 8 + [False] * 2, [True] * 3 + [False] * 6 + [True]
    predictions = {r["run_key"]: answers(ours if r["method"] == "d2lora" else theirs) for r in rows}
    (found,) = summarise(rows, predictions)["tasks"]["arc_easy"]["differences"]
    assert found["pooled"] is not None
    assert found["by_item"] is not None
    assert (found["pooled"]["wins"], found["pooled"]["losses"]) == (10, 2)
    assert found["pooled"]["p"] == pytest.approx(stats.binomtest(10, 12).pvalue, abs=1e-9)
    assert (found["by_item"]["wins"], found["by_item"]["losses"]) == (5, 1)
    assert found["by_item"]["p_corrected"] == pytest.approx(stats.binomtest(5, 6).pvalue, abs=1e-9)


def test_an_item_that_seeds_disagree_on_counts_for_neither_method() -> None:
    rows = runs("d2lora", [0.5, 0.5]) + runs("lora", [0.5, 0.5])
    right = [[True], [False], [False], [True]]
    predictions = {r["run_key"]: answers(marks) for r, marks in zip(rows, right, strict=True)}
    (found,) = summarise(rows, predictions)["tasks"]["arc_easy"]["differences"]
    assert found["pooled"] is not None
    assert found["by_item"] is not None
    assert (found["pooled"]["wins"], found["pooled"]["losses"]) == (1, 1)
    assert (found["by_item"]["wins"], found["by_item"]["losses"], found["by_item"]["p"]) == (0, 0, 1.0)


def test_runs_that_answered_different_items_cannot_be_paired() -> None:
    rows = [row("d2lora"), row("lora")]
    predictions = {rows[0]["run_key"]: answers([True] * 3), rows[1]["run_key"]: answers([True] * 2)}
    with pytest.raises(ValueError, match=r"answered different items \(3 and 2\)"):
        summarise(rows, predictions)


def test_the_macro_average_counts_every_task_once_and_only_seeds_that_finished_all() -> None:
    rows = runs("d2lora", [0.6, 0.7, 0.8], task="a") + runs("d2lora", [0.4, 0.5], task="b")
    found = summarise(rows, {})["macro"]["methods"]["d2lora"]
    assert found["mean"] == pytest.approx((0.7 + 0.45) / 2, abs=1e-9)
    assert found["n"] == 2
    assert found["seed_mean"] == pytest.approx(0.55, abs=1e-9)
    assert found["sd"] == pytest.approx(statistics.stdev([0.5, 0.6]), abs=1e-9)


def test_a_method_that_lacks_a_task_has_no_macro_average() -> None:
    rows = runs("d2lora", OURS, task="a") + runs("lora", THEIRS, task="a") + runs("d2lora", OURS, task="b")
    summary = summarise(rows, {})
    assert summary["macro"]["methods"]["lora"]["mean"] is None
    assert "not comparable (fewer than 2 shared seeds) with lora" in summary["headline"]


def test_one_seed_concludes_nothing_and_gives_no_interval() -> None:
    summary = summarise([row("d2lora", accuracy=0.7), row("lora", accuracy=0.6)], {})
    (found,) = summary["tasks"]["arc_easy"]["differences"]
    assert (found["p"], found["interval"], found["sd"], found["verdict"]) == (None, None, None, "unknown")
    assert summary["headline"].startswith("Only one seed a method, so nothing can be concluded")
    assert "ahead" not in " ".join([summary["headline"], *summary["claims"]])


def test_the_headline_says_who_is_ahead_by_how_much_and_how_surely() -> None:
    summary = summarise(runs("d2lora", OURS) + runs("lora", THEIRS), {})
    assert summary["headline"] == (
        "d2lora is ahead of lora (+2.0 points, 95 % interval +1.3 to +2.8, corrected p 0.002) on arc_easy, 5 seeds."
    )


def test_a_tie_says_what_it_could_have_missed() -> None:
    noisy = [0.70, 0.72, 0.69, 0.73, 0.715]
    text = " ".join(summarise(runs("d2lora", noisy) + runs("lora", OURS), {})["claims"])
    assert "A tie is not equality: against lora, 5 seeds with this spread would miss" in text


def test_a_tie_says_how_many_seeds_would_settle_it() -> None:
    text = " ".join(summarise(runs("d2lora", [0.70, 0.72, 0.69]) + runs("lora", [0.70, 0.70, 0.70]), {})["claims"])
    assert "If the 0.33 points seen are true, it would take about 167 seeds to show them." in text


def test_a_tie_that_no_sensible_number_of_seeds_would_settle_says_so() -> None:
    text = " ".join(summarise(runs("d2lora", [0.8, 0.6, 0.7003]) + runs("lora", [0.7] * 3), {})["claims"])
    assert "If the 0.01 points seen are true, it would take more than 10,000 seeds to show them." in text


def test_a_tie_whose_mean_is_only_rounding_is_a_tie_of_zero() -> None:
    summary = summarise(runs("d2lora", [0.8, 0.6, 0.7]) + runs("lora", [0.7, 0.7, 0.7]), {})
    (found,) = summary["tasks"]["arc_easy"]["differences"]
    assert (found["mean"], found["verdict"]) == (0.0, "tie")
    assert "A tie is not equality" in " ".join(summary["claims"])
    assert "points seen are true" not in " ".join(summary["claims"])


def test_no_counts_of_right_answers_break_a_summary() -> None:
    generator = random.Random(0)
    ties = 0
    for trial in range(300):
        pair = [[generator.randint(250, 260) / 384 for _ in range(3)] for _ in range(2)]
        found = difference(("d2lora", "lora"), *(dict(enumerate(values)) for values in pair))
        balanced = sum(round(384 * share) for share in pair[0]) == sum(round(384 * share) for share in pair[1])
        assert (found["mean"] == 0) == balanced
        ties += balanced
        if balanced or trial % 10 == 0:
            summary = summarise(runs("d2lora", pair[0]) + runs("lora", pair[1]), {})
            assert summary["tasks"]["arc_easy"]["differences"][0]["mean"] == found["mean"]
    assert ties > 10


def test_a_headline_over_many_methods_stays_one_sentence() -> None:
    names = ["d2lora", "lora", "dora", "a", "b", "c"]
    rows = [found for name in names for found in runs(name, OURS)]
    assert summarise(rows, {})["headline"] == (
        "d2lora is not distinguishable from any of the 5 other methods on arc_easy, 5 seeds."
    )


def test_an_empty_sweep_and_one_in_which_nothing_finished_conclude_nothing() -> None:
    assert summarise([], {})["headline"] == "No run finished: nothing can be concluded."
    assert summarise([row(status="failed")], {})["headline"].startswith("No run finished: nothing can be concluded.")


def test_a_single_method_is_reported_without_a_comparison() -> None:
    assert "no other method to compare it with" in summarise(runs("d2lora", OURS), {})["headline"]


def test_unequal_budgets_and_rates_at_the_end_of_the_grid_are_declared() -> None:
    rows = runs("d2lora", OURS, size=200) + runs("lora", THEIRS) + runs("lora", THEIRS, lr=3e-4, validation=0.99)
    text = " ".join(summarise(rows, {})["claims"])
    assert "relative to d2lora, lora 0.50 times" in text
    assert "In 1 of 2 cases the chosen learning rate is an end of its grid" in text


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


def test_identical_predictions_are_a_tie_with_p_of_one_at_every_level() -> None:
    rows = runs("d2lora", OURS) + runs("lora", THEIRS) + runs("twin", OURS)
    marks = {seed: [(item + seed) % 3 > 0 for item in range(20)] for seed in range(5)}
    predictions = {one["run_key"]: answers(marks[one["seed"]]) for one in rows}
    summary = summarise(rows, predictions)
    found = summary["tasks"]["arc_easy"]
    (pair,) = (pair for pair in found["differences"] if pair["second"] == "twin")
    assert (pair["p"], pair["p_corrected"], pair["verdict"]) == (1.0, 1.0, "tie")
    assert pair["pooled"] == {"wins": 0, "losses": 0, "p": 1.0, "p_corrected": 1.0}
    assert [(one["p"], one["p_corrected"], one["interval"]) for one in pair["by_seed"]] == 5 * [(1.0, 1.0, [0.0, 0.0])]
    assert found["tie_groups"] == [
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
    (found,) = summarise(rows, predictions)["tasks"]["arc_easy"]["differences"]
    first, second = found["by_seed"]
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


def test_volatility_has_its_interval_across_seeds_and_its_ratio_paired_by_seed() -> None:
    ours, theirs = [0.10, 0.12, 0.11], [0.15, 0.20, 0.16]
    rows = [
        {**one, "train_loss_volatility": values[one["seed"]], "train_loss_change": 2 * values[one["seed"]]}
        for name, values in (("d2lora", ours), ("lora", theirs))
        for one in runs(name, [0.7, 0.71, 0.72])
    ]
    found = summarise(rows, {})["tasks"]["arc_easy"]
    interval = stats.t.interval(0.95, 2, loc=statistics.fmean(ours), scale=stats.sem(ours))
    assert found["methods"]["d2lora"]["volatility_interval"] == pytest.approx(list(interval), abs=1e-12)
    assert found["methods"]["d2lora"]["loss_change"] == pytest.approx(0.22, abs=1e-12)
    ratio = found["differences"][0]["volatility_ratio"]
    logs = stats.ttest_rel([math.log(one) for one in ours], [math.log(one) for one in theirs])
    assert ratio is not None
    assert ratio["ratio"] == pytest.approx(stats.gmean([a / b for a, b in zip(ours, theirs, strict=True)]), abs=1e-12)
    assert ratio["interval"] == pytest.approx([math.exp(end) for end in logs.confidence_interval()], abs=1e-12)


def test_rows_of_runs_from_before_the_mean_change_was_measured_have_none() -> None:
    found = summarise(runs("d2lora", OURS), {})["tasks"]["arc_easy"]["methods"]["d2lora"]
    assert (found["loss_change"], found["loss_change_interval"]) == (None, None)


def test_the_variance_at_the_chosen_rate_is_split_by_whatever_seeds_the_rows_name() -> None:
    rows = [{**one, "init_seed": one["seed"] // 2, "data_seed": one["seed"] % 2} for one in runs("d2lora", OURS[:4])]
    found = summarise(rows, {})["tasks"]["arc_easy"]["methods"]["d2lora"]["sources"]
    assert found is not None
    assert [one["source"] for one in found["sources"]] == ["init_seed", "data_seed", "init_seed x data_seed"]
    plain = summarise(runs("d2lora", OURS), {})["tasks"]["arc_easy"]["methods"]["d2lora"]["sources"]
    assert plain is not None
    assert plain["sources"][0]["variance"] == pytest.approx(statistics.variance(OURS), abs=1e-12)


def test_settings_of_one_name_share_a_curve_so_that_more_of_them_gain_nothing() -> None:
    rows = [{**one, "settings": {"name": "lora"}} for one in runs("lora", THEIRS)]
    for label, level in (("d2lora(tau=0)", 0.60), ("d2lora(tau=1)", 0.70)):
        rows += [{**one, "settings": {"name": "d2lora"}} for one in runs(label, [level] * 5)]
    summary = summarise(rows, {})
    families = summary["tasks"]["arc_easy"]["families"]
    assert [len(families[name]) for name in ("lora", "d2lora")] == [1, 2]
    assert families["d2lora"][0]["test"] == pytest.approx(0.65, abs=1e-12)
    assert families["d2lora"][1]["test"] == pytest.approx(0.70, abs=1e-12)
    assert (
        "The best of 1 setting drawn from each is expected to reach, on arc_easy: lora 70.0 % (of 1) and d2lora 65.0 % "
        "(of 2)."
    ) in " ".join(summary["claims"])


def test_the_headline_counts_tasks_and_says_which_tie_a_few_more_seeds_would_settle() -> None:
    noisy = [0.70, 0.72, 0.69, 0.73, 0.715]
    rows = [*runs("d2lora", OURS, task="a"), *runs("lora", THEIRS, task="a")]
    rows += [*runs("d2lora", noisy, task="b"), *runs("lora", OURS, task="b")]
    summary = summarise(rows, {})
    needed = summary["tasks"]["b"]["differences"][0]["seeds_for_one_point"]
    assert needed is not None
    assert "By task, d2lora is ahead of lora on 1 of 2 tasks (1 tie)." in summary["headline"]
    assert f"{needed - 5} more seeds would resolve 1 point on b against lora." in summary["headline"]


def test_volatility_is_offered_where_the_statistics_are() -> None:
    assert loss_volatility([1.0] * 20) == 0.0
