"""OpenBookQA: elementary science facts, put to use; the fact itself is not shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.data.example import Example
from orchestrator.data.sources import HubSource
from orchestrator.data.tasks.prompts import labelled

SOURCE = HubSource(id="allenai/openbookqa", config="main", train="train", test="test")


def example(row: Mapping[str, Any]) -> Example:
    """Return the question; its stem is a question or the beginning of a sentence."""
    return labelled(row, "question_stem")
