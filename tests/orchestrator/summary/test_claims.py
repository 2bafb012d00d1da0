"""The claims: what a tie could hide, and what a reader must know."""

from __future__ import annotations

from orchestrator.statistics.significance import paired_p
from orchestrator.statistics.thresholds import SIGNIFICANT
from orchestrator.summary.claims import EQUAL_SIGNS
from orchestrator.summary.summary import summary_of
from tests.helpers.result_rows import OURS, THEIRS, runs


def test_a_tie_says_what_it_could_have_missed() -> None:
    noisy = [0.70, 0.72, 0.69, 0.73, 0.715]
    text = " ".join(summary_of(runs("d2lora", noisy) + runs("lora", OURS), {})["claims"])
    assert "A tie is not equality: against lora, 5 seeds with this spread would miss" in text


def test_a_tie_says_how_many_seeds_would_settle_it() -> None:
    text = " ".join(summary_of(runs("d2lora", [0.70, 0.72, 0.69]) + runs("lora", [0.70, 0.70, 0.70]), {})["claims"])
    assert "If the 0.33 points seen are true, it would take about 167 seeds to show them." in text


def test_a_tie_that_no_sensible_number_of_seeds_would_settle_says_so() -> None:
    text = " ".join(summary_of(runs("d2lora", [0.8, 0.6, 0.7003]) + runs("lora", [0.7] * 3), {})["claims"])
    assert "If the 0.01 points seen are true, it would take more than 10,000 seeds to show them." in text


def test_unequal_budgets_and_rates_at_the_end_of_the_grid_are_declared() -> None:
    rows = runs("d2lora", OURS, size=200) + runs("lora", THEIRS) + runs("lora", THEIRS, lr=3e-4, validation=0.99)
    text = " ".join(summary_of(rows, {})["claims"])
    assert "relative to d2lora, lora 0.50 times" in text
    assert "In 1 of 2 cases the chosen learning rate is an end of its grid" in text


def test_equal_differences_are_said_to_be_no_certainty() -> None:
    claims = summary_of(runs("d2lora", [0.72, 0.74]) + runs("lora", [0.70, 0.72]), {})["claims"]
    assert claims[0].endswith("not distinguishable from lora (+2.0 points at each of 2 seeds, corrected p 0.500).")
    assert claims[1] == (
        "Equal at every seed: +2.0 points against lora on arc_easy (2 seeds). So few seeds without spread are no "
        "certainty: there is no interval, and p is that of the sign test, which is below 0.05 from 6 seeds on."
    )
    assert "Equal at every seed" not in " ".join(summary_of(runs("d2lora", OURS) + runs("lora", OURS), {})["claims"])


def test_the_sign_test_of_so_many_equal_signs_is_the_first_below_5_percent() -> None:
    assert paired_p([0.02] * EQUAL_SIGNS) < SIGNIFICANT <= paired_p([0.02] * (EQUAL_SIGNS - 1))


def test_a_tie_never_misses_more_than_100_points() -> None:
    claims = " ".join(summary_of(runs("d2lora", [0.2, 0.9]) + runs("lora", [0.8, 0.1]), {})["claims"])
    assert "2 seeds with this spread would miss even a true difference of 100.0 points one time in five" in claims


def test_an_interval_in_a_claim_stays_within_100_percent() -> None:
    claims = summary_of(runs("d2lora", [0.99, 0.90, 1.0]) + runs("lora", [0.01, 0.1, 0.0]), {})["claims"]
    assert "d2lora 96.3 % (95 % interval 82.7 to 100.0, 3 seeds)" in claims[0]
    assert "95 % interval +65.3 to +100.0" in claims[0]


def test_without_a_reference_nothing_is_claimed() -> None:
    assert summary_of([], {})["claims"] == []
