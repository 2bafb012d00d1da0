"""Exact ties: counted, told, and broken in favour of no place, the same way by whoever scores."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest
import torch

import d2lora
from orchestrator.data.tokens import Item
from orchestrator.summary.ties import exact_ties
from orchestrator.train.engine.plain import OneProcess
from orchestrator.train.score import Scored, accuracy, count_ties, prediction_rows, score_items
from orchestrator.train.ties import best_choice
from tests.helpers.models.tiny_llama import TARGETS, questions, tiny_llama
from tests.helpers.places import ROOT

CPU = torch.device("cpu")


def item(number: int, choices: int = 4) -> Item:
    return Item(tuple((number, 1, choice) for choice in range(choices)), (2,) * choices, 0, (1,) * choices)


@pytest.mark.parametrize("tied", [(0, 1), (1, 3), (0, 1, 2, 3)])
def test_a_tie_favours_no_place(tied: tuple[int, ...]) -> None:
    scores = [0.0 if choice in tied else -1.0 for choice in range(4)]
    taken = Counter(best_choice(scores, item(number))[0] for number in range(4000))
    share = 4000 / len(tied)
    assert set(taken) == set(tied)
    assert all(abs(count - share) < 5 * share**0.5 for count in taken.values())


def test_twins_of_the_same_tokens_are_told_apart_by_their_number() -> None:
    twins = [Item(((number, 1, 2),) * 2, (2, 2), 0, (1, 1)) for number in range(200)]
    assert 60 < sum(best_choice([0.0, 0.0], one)[0] for one in twins) < 140


def test_without_a_tie_the_best_score_decides_alone() -> None:
    assert best_choice([-1.0, -0.5, -2.0], item(0)) == (1, 1)
    assert best_choice([-1.0, -0.5, -0.5], item(0, 3))[1] == 2


def test_another_process_breaks_the_same_tie_the_same_way() -> None:
    words = "from orchestrator.train.ties import best_choice; import json; "
    words += "from tests.orchestrator.train.test_ties import item; "
    words += "print(json.dumps([best_choice([0.0] * 4, item(number))[0] for number in range(64)]))"
    told = subprocess.run([sys.executable, "-c", words], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert json.loads(told) == [best_choice([0.0] * 4, item(number))[0] for number in range(64)]


def undecided() -> list[list[Scored]]:
    """Score questions by a head that knows nothing: alone and in lanes, prompts shared and not, adapted and merged."""
    model = tiny_llama()
    model.lm_head.weight.data.zero_()
    asked = questions(30, seed=3)
    ways = [score_items(OneProcess(model, CPU), {0: asked}, 0, share)[0] for share in (True, False)]
    d2lora.attach(model, "lora", d2lora.get_method("lora").Config(rank=2), TARGETS, lanes=2)
    lanes = score_items(OneProcess(model, CPU), {0: asked, 1: asked}, 2)
    return [*ways, lanes[0], lanes[1], score_items(OneProcess(d2lora.merge_(model), CPU), {0: asked}, 0)[0]]


def test_every_lane_and_layout_and_the_merged_model_break_ties_alike() -> None:
    first, *others = undecided()
    assert count_ties(first) > 0
    for other in others:
        assert [one.predicted for one in other] == [one.predicted for one in first]
        assert [one.tied for one in other] == [one.tied for one in first]


def test_predictions_say_where_a_tie_decided_and_only_there() -> None:
    scored = undecided()[0]
    rows = prediction_rows(scored)
    assert [row.get("tied", 1) for row in rows] == [one.tied for one in scored]
    assert all(row["scores"].count(max(row["scores"])) == row.get("tied", 1) for row in rows)
    assert count_ties(scored) == sum("tied" in row for row in rows) < len(rows)
    assert accuracy(scored) == sum(row["predicted"] == row["answer"] for row in rows) / len(rows)


def test_ties_are_told_in_one_sentence_and_not_where_there_are_none() -> None:
    rows = [{"status": "committed", "ties": ties} for ties in (0, 2, 3)] + [{"status": "failed", "ties": None}]
    (sentence,) = exact_ties(rows)
    assert sentence.startswith("5 test answers of 2 runs had several choices with exactly the best score")
    assert exact_ties(rows[:1]) == exact_ties([{"status": "committed"}]) == []
