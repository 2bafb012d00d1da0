"""What is kept of a run's rungs: a score and a verdict once, whatever a later try would say."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.files import read_json
from orchestrator.search.halving import Verdict, judge
from orchestrator.search.rungs import Rung, scores_at

RULE = "asha: first rung 0.25, factor 3"
STOP, GO = judge(0.2, [0.2, 0.5], 3), judge(0.5, [0.2, 0.5], 3)


@pytest.fixture
def rung(tmp_path: Path) -> Rung:
    (tmp_path / "one").mkdir()
    return Rung(tmp_path / "one", 23)


def test_a_score_is_kept_as_it_was_first_measured(rung: Rung) -> None:
    assert (rung.reached, rung.score) == (False, None)
    rung.record(0.2)
    rung.record(0.9)
    assert (rung.reached, rung.score) == (True, 0.2)


def test_a_verdict_is_kept_as_it_was_first_made_and_under_its_own_rule(rung: Rung) -> None:
    rung.record(0.2)
    assert rung.verdict(RULE) is None
    assert rung.settle(RULE, STOP) == STOP
    assert rung.settle(RULE, GO) == STOP
    assert rung.verdict(RULE) == Rung(rung.run, 23).verdict(RULE) == STOP
    assert rung.verdict("another") is None
    assert rung.settle("another", GO) == GO
    assert (rung.verdict(RULE), rung.score) == (STOP, 0.2)


def test_the_file_of_a_rung_is_that_of_the_first_versions(rung: Rung) -> None:
    rung.record(0.2)
    rung.settle(RULE, STOP)
    verdict = {"score": 0.2, "reached": 2, "places": 1, "cut": 0.5, "goes_on": False}
    assert read_json(rung.run / "rungs" / "23.json") == {"step": 23, "score": 0.2, "verdicts": {RULE: verdict}}


def test_trainers_that_decide_at_the_same_time_agree(rung: Rung) -> None:
    rung.record(0.2)
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda n: rung.settle(RULE, Verdict(0.2, n + 1, 1, 0.2, n % 2 == 0)), range(16)))
    assert len(set(verdicts)) == 1


def test_a_run_that_diverged_has_been_there_and_has_no_score_until_it_comes_after_all(rung: Rung) -> None:
    rung.record(None)
    assert (rung.reached, rung.score) == (True, None)
    rung.record(0.4)
    rung.record(None)
    assert rung.score == 0.4


def test_scores_are_of_those_that_came_to_this_rung(tmp_path: Path) -> None:
    for key, step, score in (("a", 23, 0.1), ("b", 23, None), ("c", 68, 0.9), ("d", 23, 0.3)):
        (tmp_path / key).mkdir(exist_ok=True)
        Rung(tmp_path / key, step).record(score)
    assert scores_at(tmp_path, ["a", "b", "c", "never begun"], 23) == [0.1, None]


def test_a_file_that_is_no_rung_is_as_if_there_were_none(rung: Rung) -> None:
    rung.record(0.2)
    (rung.run / "rungs" / "23.json").write_text("[]")
    assert not rung.reached
