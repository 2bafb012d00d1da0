"""HellaSwag: how a description goes on; the test's answers are hidden, so the validation split is the test."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from orchestrator.data.example import Example
from orchestrator.data.sources import HubSource
from orchestrator.data.tasks.columns import checked_text, column, position, text, texts
from orchestrator.data.tasks.prompts import multiple_choice

SOURCE = HubSource(id="Rowan/hellaswag", config="default", train="train", test="validation")


def example(row: Mapping[str, Any]) -> Example:
    """Return activity and context, to be continued by one of the endings."""
    begun = column(row, "ctx_b")
    context = f"{text(row, 'ctx_a')} {begun.capitalize()}" if isinstance(begun, str) else text(row, "ctx_a")
    endings = [checked_text(clean(ending), f"ending {n}") for n, ending in enumerate(texts(row, "endings"))]
    label = column(row, "label")
    answer = position(
        str(label) if type(label) is int else label, [str(n) for n in range(len(endings))], "column 'label'"
    )
    return multiple_choice(clean(f"{text(row, 'activity_label')}: {context}"), endings, answer)


def clean(text: str) -> str:
    """Return text without the marks that WikiHow's pages left in it: ``[title]``, ``[step]``, ``[substeps]``."""
    without_marks = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return without_marks.replace("  ", " ").strip()
