"""A method at one rate, and the choice among its rates."""

from __future__ import annotations

import statistics

import pytest
from scipy import stats

from orchestrator.summary.rates import choose_rate, summarise_rate
from orchestrator.summary.summary import summary_of
from tests.helpers.result_rows import OURS, THEIRS, row, runs


def test_the_rate_is_chosen_on_validation_and_reported_on_test() -> None:
    rows = runs("d2lora", [0.60, 0.62], lr=1e-4, validation=0.75) + runs(
        "d2lora", [0.70, 0.72], lr=3e-4, validation=0.74
    )
    method = summary_of(rows, {})["tasks"]["arc_easy"]["methods"]["d2lora"]
    assert (method["lr"], method["validation_mean"]) == (1e-4, 0.75)
    assert method["mean"] == pytest.approx(0.61, abs=1e-9)
    assert method["by_lr"]["0.0003"]["mean"] == pytest.approx(0.71)


def test_the_mean_on_validation_has_an_interval_of_its_own_and_one_seed_gives_none() -> None:
    scores = [0.70, 0.74, 0.75]
    rate = summarise_rate([row(lr=1e-4, seed=seed, validation=score) for seed, score in enumerate(scores)])
    expected = stats.t.interval(0.95, 2, loc=statistics.fmean(scores), scale=stats.sem(scores))
    assert rate["validation_interval"] == pytest.approx(list(expected), abs=1e-9)
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
    assert summary_of(lucky + whole, {})["tasks"]["arc_easy"]["methods"]["d2lora"]["lr"] == 1e-4


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
    summary = summary_of(lucky + stayed, {})
    method = summary["tasks"]["arc_easy"]["methods"]["d2lora"]
    assert (method["lr"], method["dropped"], method["failed"]) == (1e-4, 0, 0)
    assert (method["by_lr"]["0.001"]["dropped"], method["by_lr"]["0.001"]["n"]) == (4, 1)
    assert "The race made 4 of 10 runs needless." in summary["headline"]
    assert "failed" not in summary["headline"]


def test_a_rate_whose_seeds_were_stopped_loses_to_one_that_kept_them_and_nothing_stopped_is_averaged() -> None:
    lucky = [row(lr=1e-3, validation=0.99), *(row(lr=1e-3, seed=seed, status="stopped") for seed in range(1, 5))]
    kept = runs("d2lora", OURS, lr=1e-4, validation=0.50)
    summary = summary_of(lucky + kept, {})
    method = summary["tasks"]["arc_easy"]["methods"]["d2lora"]
    assert (method["lr"], method["n"], method["stopped"]) == (1e-4, 5, 0)
    assert method["interval"] is not None
    other = method["by_lr"]["0.001"]
    assert (other["n"], other["stopped"], other["stopped_seeds"]) == (1, 4, [1, 2, 3, 4])
    assert summary["headline"].endswith("4 of 10 runs were stopped at a rung and are in no average.")
    assert method["best_of"] == summary["tasks"]["arc_easy"]["families"]["d2lora"] == []


def test_a_rate_without_a_finished_run_loses_to_any_with_one() -> None:
    lost = summarise_rate([row(lr=1e-4, status="failed")])
    wild = summarise_rate([row(lr=1e-3, validation=0.3), row(lr=1e-3, seed=1, status="diverged")])
    assert choose_rate([lost, wild])["lr"] == 1e-3


def test_rows_of_runs_from_before_the_mean_change_was_measured_have_none() -> None:
    method = summary_of(runs("d2lora", OURS), {})["tasks"]["arc_easy"]["methods"]["d2lora"]
    assert (method["loss_change"], method["loss_change_interval"]) == (None, None)


def test_the_variance_at_the_chosen_rate_is_split_by_whatever_seeds_the_rows_name() -> None:
    rows = [{**one, "init_seed": one["seed"] // 2, "data_seed": one["seed"] % 2} for one in runs("d2lora", OURS[:4])]
    sources = summary_of(rows, {})["tasks"]["arc_easy"]["methods"]["d2lora"]["sources"]
    assert sources is not None
    assert [one["source"] for one in sources["sources"]] == ["init_seed", "data_seed", "init_seed x data_seed"]
    plain = summary_of(runs("d2lora", OURS), {})["tasks"]["arc_easy"]["methods"]["d2lora"]["sources"]
    assert plain is not None
    assert plain["sources"][0]["variance"] == pytest.approx(statistics.variance(OURS), abs=1e-12)


def test_a_method_is_summed_up_by_what_numpy_and_scipy_say_of_its_seeds() -> None:
    method = summary_of(runs("d2lora", OURS), {})["tasks"]["arc_easy"]["methods"]["d2lora"]
    interval = stats.t.interval(0.95, 4, loc=statistics.fmean(OURS), scale=stats.sem(OURS))
    assert method["n"] == 5
    assert method["mean"] == pytest.approx(statistics.fmean(OURS), abs=1e-9)
    assert method["sd"] == pytest.approx(stats.tstd(OURS), abs=1e-9)
    assert method["interval"] == pytest.approx(list(interval), abs=1e-9)
    assert (method["worst"], method["worst_seed"]) == (0.709, 2)
    assert (method["base_accuracy"], method["trainable_parameters"]) == (0.4, 100)
    assert method["volatility"] == pytest.approx(0.1, abs=1e-9)


def test_settings_of_one_name_share_a_curve_so_that_more_of_them_gain_nothing() -> None:
    rows = [{**one, "settings": {"name": "lora"}} for one in runs("lora", THEIRS)]
    for label, level in (("d2lora(tau=0)", 0.60), ("d2lora(tau=1)", 0.70)):
        rows += [{**one, "settings": {"name": "d2lora"}} for one in runs(label, [level] * 5)]
    summary = summary_of(rows, {})
    families = summary["tasks"]["arc_easy"]["families"]
    assert [len(families[name]) for name in ("lora", "d2lora")] == [1, 2]
    assert families["d2lora"][0]["test"] == pytest.approx(0.65, abs=1e-12)
    assert families["d2lora"][1]["test"] == pytest.approx(0.70, abs=1e-12)
    assert (
        "The best of 1 setting drawn from each is expected to reach, on arc_easy: lora 70.0 % (of 1) and d2lora 65.0 % "
        "(of 2)."
    ) in " ".join(summary["claims"])


def test_intervals_of_accuracies_stay_between_0_and_100_percent() -> None:
    high = summarise_rate(runs("d2lora", [0.99, 0.90, 1.0]))
    assert high["interval"] == high["validation_interval"] == pytest.approx([0.8265, 1.0], abs=5e-5)
    low = summarise_rate(runs("d2lora", [0.01, 0.10, 0.0]))
    assert low["interval"] == low["validation_interval"] == pytest.approx([0.0, 0.1735], abs=5e-5)


def test_equal_seeds_have_a_spread_of_zero_and_no_interval() -> None:
    same = summarise_rate(runs("d2lora", [0.7] * 8))
    assert (same["sd"], same["interval"], same["bootstrap"], same["volatility_interval"]) == (0.0, None, None, None)
