"""ARC-Easy: grade-school science questions that word statistics answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.data.example import Example
from orchestrator.data.sources import HubSource
from orchestrator.data.tasks.prompts import labelled

SOURCE = HubSource(id="allenai/ai2_arc", config="ARC-Easy", train="train", test="test")


def example(row: Mapping[str, Any]) -> Example:
    """Return the question; a row labels its choices either ``A``..``E`` or ``1``..``4``."""
    return labelled(row, "question")
