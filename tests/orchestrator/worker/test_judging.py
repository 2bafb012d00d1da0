"""Judging the lanes of a pack: all are scored before any is judged, and nothing is measured or decided twice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from orchestrator.search.halving import Contest, Halving
from orchestrator.search.rungs import Rung
from orchestrator.train.engine.plain import OneProcess
from orchestrator.worker.judging import Judge
from tests.helpers.models.tiny_llama import tiny_llama

KEYS = ["a", "b", "c", "d"]
SCORES = {0: 0.1, 1: 0.4, 2: 0.3, 3: 0.2}


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    for key in KEYS:
        (tmp_path / key).mkdir()
    engine = OneProcess(tiny_llama(), torch.device("cpu"))
    return Judge(engine, tmp_path, Contest(Halving(2, 2), dict.fromkeys(KEYS, tuple(KEYS))), KEYS)


def measured(lanes: list[int]) -> dict[int, float]:
    return {lane: SCORES[lane] for lane in lanes}


def test_lanes_that_arrive_together_are_judged_together_in_whatever_order_they_stand(judge: Judge) -> None:
    verdicts = judge.at(2, [0, 1, 2, 3], measured)
    assert [verdicts[lane].goes_on for lane in range(4)] == [False, True, True, False]
    assert {verdict.reached for verdict in verdicts.values()} == {4}


def test_a_lane_that_comes_later_is_judged_among_all_and_changes_no_earlier_verdict(judge: Judge) -> None:
    early = judge.at(2, [0, 3], measured)
    assert [early[lane].goes_on for lane in (0, 3)] == [False, True]
    late = judge.at(2, [1, 2], measured)
    assert {verdict.reached for verdict in late.values()} == {4}
    assert judge.at(2, [0, 3], measured) == early


def test_what_was_scored_and_decided_before_is_neither_measured_nor_decided_again(judge: Judge) -> None:
    first = judge.at(2, [0, 1], measured)
    asked: list[list[int]] = []

    def again(lanes: list[int]) -> dict[int, float]:
        asked.append(lanes)
        return dict.fromkeys(lanes, 0.9)

    second = judge.at(2, [0, 1, 2], again)
    assert asked == [[2]]
    assert {lane: second[lane] for lane in (0, 1)} == first
    assert judge.at(2, [0, 1, 2], lambda _: pytest.fail("all three have scores")) == second


def test_a_score_whose_verdict_was_not_written_is_judged_without_being_measured_again(judge: Judge) -> None:
    Rung(judge.runs / "a", 2).record(0.1)
    Rung(judge.runs / "b", 2).record(0.4)
    verdicts = judge.at(2, [0], lambda _: pytest.fail("it has a score"))
    assert (verdicts[0].score, verdicts[0].cut, verdicts[0].goes_on) == (0.1, 0.4, False)


def test_a_lane_that_diverged_is_beaten_at_the_rung_before_it_and_at_no_other(judge: Judge) -> None:
    judge.lost(3, steps=3, total=20)  # rungs at 2, 4, 8, 16
    assert [Rung(judge.runs / "d", step).reached for step in (2, 4, 8)] == [False, True, False]
    judge.lost(2, steps=4, total=20)
    assert Rung(judge.runs / "c", 4).reached
    judge.lost(1, steps=18, total=20)
    assert not (judge.runs / "b" / "rungs").exists()
    verdicts = judge.at(4, [0], measured)
    assert (verdicts[0].reached, verdicts[0].goes_on) == (3, True)
