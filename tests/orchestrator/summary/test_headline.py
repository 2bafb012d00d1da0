"""The headline: who is ahead, how surely, and which runs are missing."""

from __future__ import annotations

import statistics

import pytest

from orchestrator.summary.summary import summary_of
from tests.helpers.result_rows import OURS, THEIRS, left_by_rungs, row, runs


def test_survivors_of_rungs_have_a_mean_and_no_interval_and_are_compared_with_nothing() -> None:
    """Rungs keep the best seeds, so an interval or a paired test over the survivors would be too optimistic."""
    selected = [
        one | {"status": "stopped", "accuracy": None} if one["seed"] == 2 else one for one in runs("lora", THEIRS)
    ]
    summary = summary_of(runs("d2lora", OURS) + selected, {})
    method = summary["tasks"]["arc_easy"]["methods"]["lora"]
    assert (method["n"], method["stopped"]) == (4, 1)
    assert method["mean"] == pytest.approx(statistics.fmean(THEIRS[:2] + THEIRS[3:]), abs=1e-9)
    names = ("sd", "interval", "bootstrap", "volatility_interval", "loss_change_interval", "sources")
    assert [method[name] for name in names] == [None] * len(names)
    (pair,) = summary["tasks"]["arc_easy"]["differences"]
    assert (pair["n"], pair["p"], pair["verdict"]) == (0, None, "unknown")
    average = summary["macro"]["methods"]["lora"]
    assert (average["n"], average["interval"], average["bootstrap"], average["stopped"]) == (0, None, None, 1)
    assert summary["tasks"]["arc_easy"]["methods"]["d2lora"]["interval"] is not None
    assert summary["headline"].endswith(
        "1 of 10 runs was stopped at a rung and is in no average. For lora on arc_easy no rate kept all its seeds: "
        "those left were selected, so no interval and no comparison."
    )


def test_one_seed_that_rungs_left_of_three_is_not_told_as_one_seed_that_was_trained() -> None:
    both = left_by_rungs("d2lora", [0.72], 3) + left_by_rungs("lora", [0.70], 3)
    headline = summary_of(both, {})["headline"]
    assert headline.startswith(
        "Rungs left at most one seed a method, so nothing can be concluded and no interval is given. 4 of 6 runs"
    )
    assert "72.0" not in headline  # a selected mean is not quoted
    assert "Only one seed" not in headline


def test_methods_that_share_seeds_are_not_comparable_because_rungs_chose_them_and_not_for_want_of_seeds() -> None:
    both = left_by_rungs("d2lora", OURS[:2], 3) + left_by_rungs("lora", THEIRS[:2], 3)
    summary = summary_of([*both, *runs("dora", THEIRS[:3])], {})
    headline = summary["headline"]
    assert "d2lora is not comparable (seeds were stopped at rungs) with lora and dora on arc_easy." in headline
    assert "fewer than 2" not in headline
    assert summary["claims"][0].startswith("arc_easy: d2lora 72.5 % (over the 2 seeds that rungs left)")
    mixed = summary_of([*runs("d2lora", OURS[:3]), *both[3:], *runs("dora", THEIRS[:1])], {})["headline"]
    assert (
        "d2lora is not comparable (seeds were stopped at rungs) with lora; "
        "not comparable (fewer than 2 shared seeds) with dora on arc_easy." in mixed
    )


def test_lost_runs_are_counted_and_named_and_enter_no_mean() -> None:
    rows = [*runs("d2lora", [0.7, 0.8]), row(seed=2, status="diverged"), row(seed=3, status="failed")]
    summary = summary_of(rows, {})
    method = summary["tasks"]["arc_easy"]["methods"]["d2lora"]
    assert method["n"] == 2
    assert method["mean"] == pytest.approx(0.75, abs=1e-9)
    assert (method["diverged_seeds"], method["failed_seeds"]) == ([2], [3])
    assert "Diverged and in no average: d2lora on arc_easy, seed 2 at lr 1e-4." in summary["headline"]
    assert "1 run failed and is missing from these figures." in summary["headline"]


def test_a_seed_that_diverged_at_a_rate_not_chosen_is_named_too() -> None:
    rows = [*runs("d2lora", OURS), row(seed=0, lr=1e-2, status="diverged")]
    assert "seed 0 at lr 0.01" in summary_of(rows, {})["headline"]


def test_the_headline_says_who_is_ahead_by_how_much_and_how_surely() -> None:
    summary = summary_of(runs("d2lora", OURS) + runs("lora", THEIRS), {})
    assert summary["headline"] == (
        "d2lora is ahead of lora (+2.0 points, 95 % interval +1.3 to +2.8, corrected p 0.002) on arc_easy, 5 seeds."
    )


def test_the_headline_counts_tasks_and_says_which_tie_a_few_more_seeds_would_settle() -> None:
    noisy = [0.70, 0.72, 0.69, 0.73, 0.715]
    rows = [*runs("d2lora", OURS, task="a"), *runs("lora", THEIRS, task="a")]
    rows += [*runs("d2lora", noisy, task="b"), *runs("lora", OURS, task="b")]
    summary = summary_of(rows, {})
    needed = summary["tasks"]["b"]["differences"][0]["seeds_for_one_point"]
    assert needed is not None
    assert "By task, d2lora is ahead of lora on 1 of 2 tasks (1 tie)." in summary["headline"]
    assert f"{needed - 5} more seeds would resolve 1 point on b against lora." in summary["headline"]


def test_a_headline_over_many_methods_stays_one_sentence() -> None:
    names = ["d2lora", "lora", "dora", "a", "b", "c"]
    rows = [run_row for name in names for run_row in runs(name, OURS)]
    assert summary_of(rows, {})["headline"] == (
        "d2lora is not distinguishable from any of the 5 other methods on arc_easy, 5 seeds."
    )


def test_an_empty_sweep_and_one_in_which_nothing_finished_conclude_nothing() -> None:
    assert summary_of([], {})["headline"] == "No run finished: nothing can be concluded."
    assert summary_of([row(status="failed")], {})["headline"].startswith("No run finished: nothing can be concluded.")


def test_a_single_method_is_reported_without_a_comparison() -> None:
    assert "no other method to compare it with" in summary_of(runs("d2lora", OURS), {})["headline"]


def test_one_seed_concludes_nothing_and_gives_no_interval() -> None:
    summary = summary_of([row("d2lora", accuracy=0.7), row("lora", accuracy=0.6)], {})
    (pair,) = summary["tasks"]["arc_easy"]["differences"]
    assert (pair["p"], pair["interval"], pair["sd"], pair["verdict"]) == (None, None, None, "unknown")
    assert summary["headline"].startswith("Only one seed a method, so nothing can be concluded")
    assert "ahead" not in " ".join([summary["headline"], *summary["claims"]])


def test_methods_that_are_equal_at_every_seed_are_said_to_be_so_and_have_no_interval() -> None:
    assert summary_of(runs("d2lora", OURS) + runs("lora", OURS), {})["headline"] == (
        "d2lora is not distinguishable from lora (equal at each of 5 seeds) on arc_easy, 5 seeds."
    )


def test_a_lead_that_is_the_same_at_every_seed_is_no_interval_of_one_point() -> None:
    few = summary_of(runs("d2lora", [0.72, 0.74]) + runs("lora", [0.70, 0.72]), {})
    assert few["headline"] == (
        "d2lora is not distinguishable from lora (+2.0 points at each of 2 seeds, corrected p 0.500) on arc_easy, "
        "2 seeds."
    )
    many = summary_of(runs("d2lora", [0.72] * 7) + runs("lora", [0.70] * 7), {})
    assert many["headline"] == (
        "d2lora is ahead of lora (+2.0 points at each of 7 seeds, corrected p 0.016) on arc_easy, 7 seeds."
    )


def test_a_single_method_whose_seeds_are_equal_has_no_interval() -> None:
    assert summary_of(runs("d2lora", [0.72] * 3), {})["headline"] == (
        "d2lora reaches 72.0 % on arc_easy (the same at each of 3 seeds); there is no other method to compare it with."
    )


def test_crossed_seeds_too_few_on_an_axis_are_named_as_the_reason() -> None:
    rows = [
        one | {"init_seed": one["seed"] // 2, "data_seed": one["seed"] % 2}
        for one in runs("d2lora", OURS[:4]) + runs("lora", THEIRS[:4])
    ]
    assert summary_of(rows, {})["headline"] == (
        "d2lora is not comparable (too few seeds to tell two axes apart) with lora on arc_easy, 4 seeds."
    )
