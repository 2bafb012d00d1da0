"""Sentences are made from figures alone; the whole summary is the figures and their sentences."""

from __future__ import annotations

from orchestrator.summary.sentences import sentences
from orchestrator.summary.summarise import summarise
from orchestrator.summary.summary import summary_of
from tests.helpers.result_rows import OURS, THEIRS, row, runs

ROWS = runs("d2lora", OURS) + runs("lora", THEIRS) + [row("dora", status="failed")]


def test_the_summary_is_the_figures_and_then_the_sentences() -> None:
    figures = summarise(ROWS, {})
    summary = summary_of(ROWS, {})
    assert list(summary) == ["reference", "tasks", "macro", "headline", "claims"]
    assert summary == {**figures, **sentences(figures, ROWS)}


def test_a_changed_figure_changes_the_sentence_without_any_new_statistics() -> None:
    figures = summarise(ROWS, {})
    pair = figures["macro"]["differences"][0]
    pair |= {"verdict": "unknown", "why_unknown": "stopped seeds"}
    assert "not comparable (seeds were stopped at rungs) with lora" in sentences(figures, ROWS)["headline"]


def test_exact_ties_of_the_rows_are_the_last_claim() -> None:
    tied = [one | {"ties": 2} for one in ROWS]
    assert sentences(summarise(tied, {}), tied)["claims"][-1].startswith("20 test answers of 10 runs had several")
