"""CommonsenseQA: five choices about everyday concepts; test answers are hidden, so the validation split is the test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.data.example import Example
from orchestrator.data.sources import HubSource
from orchestrator.data.tasks.prompts import labelled

SOURCE = HubSource(id="tau/commonsense_qa", config="default", train="train", test="validation")


def example(row: Mapping[str, Any]) -> Example:
    """Return the question."""
    return labelled(row, "question")
