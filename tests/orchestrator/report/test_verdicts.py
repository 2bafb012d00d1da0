"""The page says what its verdict words mean, and tells a tie from equality."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.report.verdicts import MEANINGS, verdict_legend, verdict_note
from orchestrator.summary.schema import Difference
from orchestrator.summary.summarise import summarise
from tests.orchestrator.report.pages import Page, run, written

LEVELS = [0.720, 0.731, 0.709, 0.725, 0.718]


def runs(method: str, values: list[float]) -> list[dict[str, Any]]:
    return [run("boolq", method, seed, value) for seed, value in enumerate(values)]


def pair(first: list[float], second: list[float]) -> Difference:
    return summarise(runs("d2lora", first) + runs("lora", second), {})["tasks"]["boolq"]["differences"][0]


def test_a_tie_of_equal_runs_is_noted_as_equal_and_another_tie_is_not() -> None:
    assert verdict_note(pair(LEVELS, LEVELS)) == "equal at each seed"
    assert verdict_note(pair(LEVELS, LEVELS[::-1])) == ""
    assert verdict_note(pair([0.72, 0.74], [0.70, 0.72])) == ""  # a tie by its sign test, with a lead at each seed
    assert verdict_note(pair(LEVELS, [one - 0.2 for one in LEVELS])) == ""


def test_an_unknown_verdict_has_its_reason_and_an_older_summary_has_none() -> None:
    unknown = pair(LEVELS, LEVELS[:1])
    assert verdict_note(unknown) == "few seeds"
    older = {name: value for name, value in unknown.items() if name != "why_unknown"}
    assert verdict_note(older) == ""  # type: ignore[arg-type]


def test_the_legend_explains_the_words_that_are_used_and_no_other() -> None:
    equal, unknown = pair(LEVELS, LEVELS), pair(LEVELS, LEVELS[:1])
    assert verdict_legend([equal, unknown]) == (
        f"“tie”: {MEANINGS['tie']}; “equal at each seed”: {MEANINGS['equal at each seed']}; "
        f"“unknown”: {MEANINGS['unknown']}; “few seeds”: {MEANINGS['few seeds']}."
    )


def test_the_page_has_the_note_beside_the_verdict_and_the_legend_below_the_table(tmp_path: Path) -> None:
    words = Page(written(tmp_path, runs("d2lora", LEVELS) + runs("lora", LEVELS))[0]).text
    assert "d2lora against lora tie (equal at each seed) 0.00 \N{EN DASH} 0.00 5 1.000 1.000" in words
    assert "“equal at each seed”: a tie of which every paired difference is exactly 0." in words


def test_a_difference_that_no_two_accuracies_can_have_is_not_printed(tmp_path: Path) -> None:
    words = Page(written(tmp_path, runs("d2lora", [0.2, 0.9]) + runs("lora", [0.8, 0.1]))[0]).text
    assert "\N{MINUS SIGN}100.00 to +100.00" in words
    assert "over 100" in words
