"""The whole content of ``summary.json``: the figures, and the sentences that the figures allow."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.summary.schema import Predictions, ResultRow, Summary
from orchestrator.summary.sentences import sentences
from orchestrator.summary.summarise import summarise


def summary_of(rows: Sequence[ResultRow], predictions: Predictions) -> Summary:
    """Return the content of ``summary.json`` from the rows of ``results.jsonl`` and the predictions by run key.

    ValueError as in `summarise`.
    """
    figures = summarise(rows, predictions)
    return {**figures, **sentences(figures, rows)}
