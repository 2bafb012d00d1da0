"""How a row's question and choices become an `Example`: the prompts that several tasks share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.data.example import Example, RowError
from orchestrator.data.tasks.columns import checked_texts, column, kind, position, text


def multiple_choice(prompt: str, choices: Sequence[str], answer: int) -> Example:
    """Return the example of a question whose choices follow the prompt after one space.

    Published benchmarks sometimes repeat a choice (CommonsenseQA, OpenBookQA). Equal texts have equal likelihoods, so a
    repeated choice is merged into its first occurrence.
    """
    distinct = list(dict.fromkeys(choices))
    if len(distinct) < 2:
        raise RowError(f"all {len(choices)} choices are identical: {distinct[0]!r}; at least two must differ.")
    return Example(prompt, tuple(f" {choice}" for choice in distinct), distinct.index(choices[answer]))


def labelled(row: Mapping[str, Any], question: str) -> Example:
    """Return the example of a row in AI2's form: ``choices = {text: [...], label: [...]}``, ``answerKey`` a label."""
    choices = column(row, "choices")
    if not isinstance(choices, Mapping):
        raise RowError(
            f"column 'choices' is {kind(choices)}; an object with the lists 'text' and 'label' was expected."
        )
    if not {"text", "label"} <= choices.keys():
        raise RowError(f"column 'choices' has no 'text' or no 'label'; there are: {', '.join(choices) or 'none'}.")
    choice_texts = checked_texts(choices["text"], "column 'choices.text'")
    labels = checked_texts(choices["label"], "column 'choices.label'")
    if len(choice_texts) != len(labels) or len(set(labels)) != len(labels):
        raise RowError(
            f"{len(choice_texts)} choices and the labels {', '.join(labels)}: every choice needs a label of its own."
        )
    answer = position(column(row, "answerKey"), labels, "column 'answerKey'")
    return multiple_choice(f"Question: {text(row, question)}\nAnswer:", choice_texts, answer)
