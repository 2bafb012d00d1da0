"""WinoGrande: which of two names a blank stands for; test answers are hidden, so the validation split is the test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.data.example import Example, RowError
from orchestrator.data.sources import HubSource
from orchestrator.data.tasks.columns import column, position, text
from orchestrator.data.tasks.prompts import multiple_choice

SOURCE = HubSource(id="allenai/winogrande", config="winogrande_xl", train="train", test="validation")


def example(row: Mapping[str, Any]) -> Example:
    """Return the sentence with its blank, then a question for the name that fills the blank.

    The usual score fills the blank with each name and compares the likelihoods of the rest of the sentence: two
    prompts, one ending. Here, as in every other task, there is one prompt and the choices differ, so that one loss
    trains all tasks.
    """
    sentence = text(row, "sentence")
    if "_" not in sentence:
        raise RowError("column 'sentence' has no blank '_'.")
    options = [text(row, "option1"), text(row, "option2")]
    answer = position(column(row, "answer"), ["1", "2"], "column 'answer'")
    return multiple_choice(f"{sentence}\nQuestion: What does the blank _ stand for?\nAnswer:", options, answer)
