"""What a search never tried is named, and the reference is a method that was tried."""

from __future__ import annotations

from typing import Any

from orchestrator.summary.reference import most_tried
from orchestrator.summary.search_limits import left_out, limits_of_search
from orchestrator.summary.summary import summary_of
from tests.helpers.result_rows import row


def rows(method: str, task: str, status: str, kind: str = "d2lora") -> list[dict[str, Any]]:
    of = {"settings": {"name": kind, "rank": 8}} | ({"search": "tpe"} if status == "dropped" else {})
    return [row(method, seed, 0.7 + seed / 100, task=task, status=status) | of for seed in (0, 1, 2)]


RESULTS = [
    *rows("d2lora(rank=4)", "arc_easy", "dropped"),
    *rows("d2lora(rank=8)", "arc_easy", "committed"),
    *rows("dora", "arc_easy", "dropped", "dora"),
    *rows("d2lora(rank=4)", "boolq", "committed"),
    *rows("d2lora(rank=8)", "boolq", "committed"),
    *rows("dora", "boolq", "diverged", "dora"),
]


def test_what_tpe_left_out_is_counted_and_a_kind_of_method_that_it_never_tried_is_named() -> None:
    said = left_out(RESULTS)
    assert said == "TPE chose which settings to try and left out 6 of 18 runs. On arc_easy it tried no dora."
    assert said in summary_of(RESULTS, {})["headline"]


def test_each_method_that_was_never_tried_is_named_with_its_task() -> None:
    adaptive, untried = limits_of_search(RESULTS)
    assert "best-of-n curves are of the settings that TPE chose" in adaptive
    assert untried == "TPE tried no rate of 2 methods on arc_easy: d2lora(rank=4) and dora."
    assert summary_of(RESULTS, {})["claims"][-2:] == [adaptive, untried]


def test_where_any_run_was_stopped_the_claims_say_that_what_kept_all_its_seeds_was_selected_too() -> None:
    beaten = [one | {"lr": 1e-2} for one in rows("dora", "boolq", "stopped", "dora")]
    (said,) = limits_of_search([*rows("dora", "boolq", "committed", "dora"), *beaten])
    assert "what kept all its seeds was selected too" in said
    assert said.endswith("A grid of the rates that are left, with new seeds, confirms them.")
    assert summary_of([*rows("dora", "boolq", "committed", "dora"), *beaten], {})["claims"][-1] == said


def test_many_untried_methods_are_counted() -> None:
    many = [one for number in range(13) for one in rows(f"lora(rank={number})", "arc_easy", "dropped", "lora")]
    assert (
        limits_of_search([*RESULTS, *many])[1] == "TPE tried no rate of 15 methods on arc_easy; their rows are empty."
    )


def test_the_reference_is_a_method_that_was_tried_on_the_most_tasks() -> None:
    assert most_tried(RESULTS) == ["d2lora(rank=8)"]
    summary = summary_of(RESULTS, {})
    assert summary["reference"] == "d2lora(rank=8)"
    assert {pair["first"] for pair in summary["macro"]["differences"]} == {"d2lora(rank=8)"}


def test_a_grid_and_a_race_are_told_as_before() -> None:
    grid = [one for one in RESULTS if one["status"] != "dropped"]
    assert (left_out(grid), limits_of_search(grid)) == ("", [])
    raced = [{name: value for name, value in one.items() if name != "search"} for one in RESULTS]
    assert (left_out(raced), limits_of_search(raced)) == ("The race made 6 of 18 runs needless.", [])


def test_a_method_that_was_not_tried_has_no_chosen_rate_at_an_end_of_its_grid() -> None:
    untried = [one | {"lr": lr} for lr in (1e-4, 1e-3, 1e-2) for one in rows("dora", "arc_easy", "dropped", "dora")]
    tried = [one | {"lr": lr} for lr in (1e-4, 1e-3, 1e-2) for one in rows("lora", "arc_easy", "committed", "lora")]
    claims = " ".join(summary_of([*tried, *untried], {})["claims"])
    assert "In 1 of 1 cases the chosen learning rate is an end of its grid" in claims


def test_a_reference_without_a_finished_run_on_a_task_is_told_so() -> None:
    untried = [*RESULTS, *rows("d2lora(rank=8)", "race", "dropped"), *rows("dora", "race", "committed", "dora")]
    assert most_tried(untried) == ["d2lora(rank=8)", "dora"]
    assert "race: d2lora(rank=8) has no finished run." in summary_of(untried, {})["claims"]
