"""Rows of every published task in its own schema: the example that each becomes, and changes that make it a bad row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.data.example import Example

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A good row and its example; then what is changed in it (None removes a column) and the words of the refusal."""

    row: Row
    example: Example
    bad: list[tuple[Mapping[str, Any], str]] = field(default_factory=list)


def labelled_row(question: str, labels: str, key: str) -> Row:
    choices = {"text": ["ice", "steam", "sand"], "label": list(labels)}
    return {"id": "made up", question: "What is frozen water? ", "choices": choices, "answerKey": key}


FROZEN_WATER = "Question: What is frozen water?\nAnswer:"
BAD_LABELLED: list[tuple[Mapping[str, Any], str]] = [
    ({"answerKey": "D"}, "column 'answerKey' is 'D', outside the choices A, B, C."),
    ({"answerKey": ""}, "a split that hides its answers?"),
    ({"answerKey": 1}, "column 'answerKey' is 1, outside the choices"),
    ({"answerKey": None}, "no column 'answerKey'; there are: id, "),
    ({"choices": None}, "no column 'choices'"),
    ({"choices": ["a", "b"]}, "column 'choices' is a list; an object with"),
    ({"choices": {"text": ["a", "b"]}}, "has no 'text' or no 'label'; there are: text"),
    ({"choices": {"text": ["a", "b"], "label": ["A"]}}, r"'choices.label' has 1 choice\(s\)"),
    ({"choices": {"text": ["a", "b", "c"], "label": ["A", "B"]}}, "3 choices and the labels A, B"),
    ({"choices": {"text": ["a", "b"], "label": ["A", "A"]}}, "every choice needs a label of its own"),
    ({"choices": {"text": ["a"], "label": ["A"]}}, r"has 1 choice\(s\); at least two"),
    ({"choices": {"text": ["a", 3], "label": ["A", "B"]}}, r"'choices.text'\[1\] is a number"),
    ({"choices": {"text": ["a", " "], "label": ["A", "B"]}}, r"'choices.text'\[1\] is empty"),
    ({"choices": {"text": ["a", "a "], "label": ["A", "B"]}, "answerKey": "A"}, "all 2 choices are identical: 'a'"),
]


def _bad_question(name: str) -> list[tuple[Mapping[str, Any], str]]:
    return [
        ({name: None}, f"no column '{name}'; there are: "),
        ({name: "  "}, f"column '{name}' is empty"),
        ({name: 7}, f"column '{name}' is a number; text was expected"),
        ({name: ["x"]}, f"column '{name}' is a list; text was expected"),
        ({name: "a\0b"}, f"column '{name}' contains a null character"),
        ({name: "a\ud800"}, f"column '{name}' contains half a surrogate pair at character 2"),
    ]


CASES: dict[str, list[Case]] = {
    "arc_easy": [
        Case(
            labelled_row("question", "ABC", "A"),
            Example(FROZEN_WATER, (" ice", " steam", " sand"), 0),
            [*_bad_question("question"), *BAD_LABELLED],
        ),
    ],
    "arc_challenge": [
        Case(
            labelled_row("question", "123", "3"),
            Example(FROZEN_WATER, (" ice", " steam", " sand"), 2),
            [({"answerKey": "4"}, "'4', outside the choices 1, 2, 3"), *_bad_question("question")],
        ),
    ],
    "commonsense_qa": [
        Case(
            labelled_row("question", "ABC", "B"),
            Example(FROZEN_WATER, (" ice", " steam", " sand"), 1),
            [*_bad_question("question"), *BAD_LABELLED],
        ),
    ],
    "openbookqa": [
        Case(
            labelled_row("question_stem", "ABC", "C"),
            Example(FROZEN_WATER, (" ice", " steam", " sand"), 2),
            [*_bad_question("question_stem"), *BAD_LABELLED],
        ),
    ],
    "boolq": [
        Case(
            {"question": "is snow cold", "passage": "Snow is ice.", "answer": True},
            Example("Snow is ice.\nQuestion: is snow cold?\nAnswer:", (" no", " yes"), 1),
            [
                *_bad_question("question"),
                *_bad_question("passage"),
                ({"answer": 1}, "column 'answer' is a number; true or false"),
                ({"answer": "true"}, "column 'answer' is text; true or false"),
                ({"answer": None}, "no column 'answer'; there are: question, passage"),
            ],
        ),
        Case(
            {"question": "is snow warm ?", "passage": "Snow is ice.", "answer": False},
            Example("Snow is ice.\nQuestion: is snow warm?\nAnswer:", (" no", " yes"), 0),
        ),
    ],
    "hellaswag": [
        Case(
            {
                "activity_label": "Baking",
                "ctx_a": "A man opens an oven.",
                "ctx_b": "he",
                "endings": ["takes out  bread.", "[step] flies away. [title] More [substeps]", "sleeps."],
                "label": "0",
            },
            Example(
                "Baking: A man opens an oven. He",
                (" takes out bread.", " flies away.. More", " sleeps."),
                0,
            ),
            [
                *_bad_question("ctx_a"),
                *_bad_question("activity_label"),
                ({"label": ""}, "a split that hides its answers?"),
                ({"label": "3"}, "column 'label' is '3', outside the choices 0, 1, 2"),
                ({"endings": "none"}, "column 'endings' is text; a list of texts"),
                ({"endings": ["[step]", "b"]}, "ending 0 is empty"),
                ({"endings": ["b", "b"]}, "all 2 choices are identical"),
                ({"ctx_b": None}, "no column 'ctx_b'"),
            ],
        ),
        Case(
            {
                "activity_label": "Oven",
                "ctx_a": "[header] How to bake [title] Begin.",
                "ctx_b": "",
                "endings": ["a", "b"],
                "label": 1,
            },
            Example("Oven: How to bake. Begin.", (" a", " b"), 1),
        ),
    ],
    "race": [
        Case(
            {
                "example_id": "made up",
                "article": "Tom has a dog.",
                "question": "Tom has a _ .",
                "options": ["cat", "dog", "cow", "fox"],
                "answer": "B",
            },
            Example(
                "Article: Tom has a dog.\nQuestion: Tom has a _ .\nAnswer:",
                (" cat", " dog", " cow", " fox"),
                1,
            ),
            [
                *_bad_question("article"),
                *_bad_question("question"),
                ({"options": None}, "no column 'options'"),
                ({"options": ["cat"]}, r"has 1 choice\(s\)"),
                ({"options": ["cat", "cat"], "answer": "A"}, "identical"),
                ({"answer": "E"}, "column 'answer' is 'E', outside the choices A, B, C, D"),
                ({"answer": 1}, "column 'answer' is 1, outside the choices"),
            ],
        ),
    ],
    "winogrande": [
        Case(
            {"sentence": "Ann thanked Bea because _ had helped.", "option1": "Ann", "option2": "Bea", "answer": "2"},
            Example(
                "Ann thanked Bea because _ had helped.\nQuestion: What does the blank _ stand for?\nAnswer:",
                (" Ann", " Bea"),
                1,
            ),
            [
                *_bad_question("sentence"),
                *_bad_question("option1"),
                ({"sentence": "Ann thanked Bea."}, "column 'sentence' has no blank '_'"),
                ({"option2": "Ann"}, "all 2 choices are identical: 'Ann'"),
                ({"answer": "3"}, "column 'answer' is '3', outside the choices 1, 2"),
                ({"answer": ""}, "a split that hides its answers?"),
                ({"answer": None}, "no column 'answer'"),
            ],
        ),
    ],
}
