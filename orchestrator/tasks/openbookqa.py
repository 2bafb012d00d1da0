"""OpenBookQA: elementary science facts, put to use; the fact itself is not shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.tasks.columns import labelled
from orchestrator.tasks.example import Example
from orchestrator.tasks.source import HubSource

SOURCE = HubSource(id="allenai/openbookqa", config="main", train="train", test="test")


def example(row: Mapping[str, Any]) -> Example:
    """Return the question; its stem is a question or the beginning of a sentence."""
    return labelled(row, "question_stem")
