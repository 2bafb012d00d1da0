"""A new best run becomes the champion only if it is not found worse than the standing champion on the same items."""

from __future__ import annotations

import json

import pytest
from scipy import stats

from orchestrator.statistics.significance import one_sided_mcnemar_p
from orchestrator.verdict.gate import LEVEL, Decision, Standing, gate


def answers(both: int, lost: int, won: int, neither: int = 0) -> tuple[str, str]:
    """Return the answers of a champion and of a new run: lost are right for the champion alone, won for the run."""
    return "1" * both + "1" * lost + "0" * won + "0" * neither, "1" * both + "0" * lost + "1" * won + "0" * neither


@pytest.mark.parametrize(
    ("lost", "won", "decision"),
    [
        (0, 0, "moved"),  # the same answers
        (0, 9, "moved"),
        (5, 5, "moved"),
        (4, 0, "moved"),  # p 0.0625: too few items to find it worse
        (5, 0, "refused"),  # p 0.031
        (9, 2, "refused"),  # p 0.033
        (9, 3, "moved"),  # p 0.073
        (60, 40, "refused"),  # p 0.028
        (58, 42, "moved"),  # p 0.067
    ],
)
def test_a_run_is_refused_exactly_where_the_test_finds_it_worse(lost: int, won: int, decision: str) -> None:
    champion, new = answers(50, lost, won, 20)
    decided = gate("boolq", "new", new, Standing("old", champion, "scored tonight"))
    assert (decided.decision, decided.standing, decided.run_key) == (decision, "old", "new")
    assert (decided.lost, decided.won) == (lost, won)
    assert decided.p == pytest.approx(
        stats.binomtest(lost, lost + won, alternative="greater").pvalue if lost + won else 1
    )
    assert (decided.p <= LEVEL) == (decision == "refused") == (not decided.lets_in)
    assert decided.difference == pytest.approx((won - lost) / len(new))
    assert "scored tonight" in decided.why
    assert f"{lost} lost, {won} won" in decided.why


def test_the_exact_test_is_the_textbooks() -> None:
    # Agresti, An Introduction to Categorical Data Analysis, on matched pairs: 132 against 107 of 239, exact one-sided
    assert one_sided_mcnemar_p(132, 107) == pytest.approx(stats.binomtest(132, 239, alternative="greater").pvalue)
    assert one_sided_mcnemar_p(3, 1) == 5 / 16
    assert one_sided_mcnemar_p(0, 0) == one_sided_mcnemar_p(0, 7) == 1.0


def test_without_a_champion_the_first_run_stands_and_the_same_run_is_kept() -> None:
    assert gate("boolq", "new", "110", None).decision == "first"
    kept = gate("boolq", "new", "110", Standing("new", None))
    assert (kept.decision, kept.standing, kept.p) == ("kept", "new", None)


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        (Standing("old", None, why_not="it was scored on other items"), "scored on other items"),
        (Standing("old", "1111"), "answered 3 items, the champion 4"),
    ],
)
def test_what_cannot_be_compared_is_refused(standing: Standing, words: str) -> None:
    decided = gate("boolq", "new", "110", standing)
    assert (decided.decision, decided.standing) == ("refused", "old")
    assert words in decided.why


def test_no_answers_are_no_comparison() -> None:
    assert gate("boolq", "new", "", Standing("old", "")).decision == "refused"


@pytest.mark.parametrize("standing", [None, Standing("old", None), Standing("old", "000")])
def test_a_run_that_was_rolled_back_is_refused_however_good_it_is(standing: Standing | None) -> None:
    decided = gate("boolq", "new", "111", standing, {"new": "it was rolled back on 2026-11-28", "other": "x"})
    assert (decided.decision, decided.why) == ("refused", "it was rolled back on 2026-11-28")
    assert gate("boolq", "newer", "111", Standing("old", "000"), {"new": "x"}).decision == "moved"


def test_a_decision_survives_a_file() -> None:
    decided = gate("boolq", "new", "0" * 9, Standing("old", "1" * 9))
    written = json.loads(json.dumps(decided.as_json() | {"night": "2026-11-28"}))
    assert Decision.of_json(written) == decided
