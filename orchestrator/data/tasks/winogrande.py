"""WinoGrande: which of two names a blank stands for; the test's answers are hidden, so validation tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.data.example import Example, RowError
from orchestrator.data.sources import HubSource
from orchestrator.data.tasks.columns import column, multiple_choice, position, text

SOURCE = HubSource(id="allenai/winogrande", config="winogrande_xl", train="train", test="validation")


def example(row: Mapping[str, Any]) -> Example:
    """Return the sentence with its blank, and ask for the name.

    The usual score fills the blank and compares how likely the rest of the sentence becomes: two prompts, one ending.
    Here, as in every other task, the prompt is common and the choices differ, so that one loss trains them all.
    """
    sentence = text(row, "sentence")
    if "_" not in sentence:
        raise RowError("column 'sentence' has no blank '_'.")
    options = [text(row, "option1"), text(row, "option2")]
    answer = position(column(row, "answer"), ["1", "2"], "column 'answer'")
    return multiple_choice(f"{sentence}\nQuestion: What does the blank _ stand for?\nAnswer:", options, answer)
