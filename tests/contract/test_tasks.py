"""Every registered task turns rows in the hub's schema into examples, and says what is wrong with the rest."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from orchestrator.data import tasks
from orchestrator.data.example import Example, RowError
from orchestrator.data.sources import HubSource
from orchestrator.data.tasks import TASKS, get_task, make_task
from orchestrator.errors import InputError
from tests.contract.task_cases import CASES, Case, Row, labelled_row

GOOD = [pytest.param(name, case, id=f"{name}-{n}") for name, cases in CASES.items() for n, case in enumerate(cases)]
BAD = [
    pytest.param(name, case.row, change, words, id=f"{name}-{n}")
    for name, cases in CASES.items()
    for case in cases
    for n, (change, words) in enumerate(case.bad)
]


def _published() -> list[str]:
    return [name for name in sorted(TASKS) if isinstance(TASKS[name].SOURCE, HubSource)]


def test_every_task_file_is_registered_under_its_name_and_no_other() -> None:
    folder = {
        module.name: import_module(f"{tasks.__name__}.{module.name}") for module in pkgutil.iter_modules(tasks.__path__)
    }
    files = {name: module for name, module in folder.items() if hasattr(module, "SOURCE")}
    here = {name: module for name, module in TASKS.items() if module.__name__.startswith(f"{tasks.__name__}.")}
    assert here == files


def test_every_published_task_has_a_case_here() -> None:
    assert sorted(CASES) == _published()


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_task_has_a_source_with_default_splits_and_a_first_line_that_says_what_it_is(name: str) -> None:
    task = get_task(name)
    assert (task.train, task.test) == (task.source.train, task.source.test)
    assert (TASKS[name].__doc__ or "").strip()


@pytest.mark.parametrize(("name", "case"), GOOD)
def test_a_row_becomes_the_expected_example(name: str, case: Case) -> None:
    assert get_task(name).example(case.row) == case.example


@pytest.mark.parametrize(("name", "case"), GOOD)
def test_a_row_is_only_read(name: str, case: Case) -> None:
    before = repr(case.row)
    get_task(name).example(case.row)
    assert repr(case.row) == before


@pytest.mark.parametrize(("name", "row", "change", "words"), BAD)
def test_a_bad_row_is_refused_with_the_reason(name: str, row: Row, change: Mapping[str, Any], words: str) -> None:
    bad = {key: value for key, value in {**row, **change}.items() if value is not None}
    with pytest.raises(RowError, match=words):
        get_task(name).example(bad)


def test_a_null_column_is_not_text() -> None:
    with pytest.raises(RowError, match="column 'question' is null; text was expected"):
        get_task("arc_easy").example({**labelled_row("question", "ABC", "A"), "question": None})


def test_a_choice_that_a_benchmark_repeats_is_merged_and_the_answer_is_still_its_text() -> None:
    row = {"question": "q", "choices": {"text": ["x", "y", "x"], "label": list("ABC")}, "answerKey": "C"}
    assert get_task("commonsense_qa").example(row) == Example("Question: q\nAnswer:", (" x", " y"), 0)


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"Unknown task 'arc_esy'. Did you mean 'arc_easy'\? Known: arc_challenge, "):
        get_task("arc_esy")


@pytest.mark.parametrize("answer", [2, "C", "blue"])
def test_your_own_file_answers_by_index_letter_or_text(answer: int | str) -> None:
    task = make_task("mine", path="mine.jsonl", question="q", choices="options", answer="label")
    row = {"q": "Colour of the sky?", "options": ["red", "green", "blue"], "label": answer}
    assert task.example(row) == Example("Question: Colour of the sky?\nAnswer:", (" red", " green", " blue"), 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": 3}, r"column 'label' is 3, outside 0\.\.2 \(0 is the first choice\)"),
        ({"label": -1}, r"column 'label' is -1, outside 0\.\.2"),
        ({"label": True}, "column 'label' is a boolean; an index, a letter or a choice's text"),
        ({"label": 1.0}, r"column 'label' is 1\.0, no whole number; an index"),
        ({"label": None}, "column 'label' is null"),
        ({"label": "D"}, r"column 'label' is 'D', neither a letter A\.\.C nor the text of a choice"),
        ({"options": ["B", "A", "x"], "label": "A"}, "a choice's text and another's letter; write the index"),
        ({"options": ["red", "red", "x"]}, "has identical choices: 'red' occurs 2 times"),
        ({"options": "red, green"}, "column 'options' is text; a list of texts was expected"),
        ({"options": ["red"]}, r"has 1 choice\(s\)"),
        ({"options": []}, r"has 0 choice\(s\)"),
        ({"options": ["red", None]}, r"column 'options'\[1\] is null"),
        ({"q": ""}, "column 'q' is empty"),
    ],
)
def test_a_bad_row_of_your_own_is_refused_with_the_reason(change: Row, words: str) -> None:
    task = make_task("mine", path="mine.jsonl", question="q", choices="options", answer="label")
    with pytest.raises(RowError, match=words):
        task.example({"q": "Colour?", "options": ["red", "green", "blue"], "label": 0, **change})


def test_a_missing_column_of_your_own_names_those_there_are() -> None:
    with pytest.raises(RowError, match="no column 'question'; there are: q, options"):
        make_task("mine", path="mine.jsonl").example({"q": "Colour?", "options": ["red", "blue"]})


def test_your_own_task_may_not_take_a_benchmarks_name() -> None:
    with pytest.raises(
        InputError, match=r"Task name 'boolq' is a benchmark's; give your own file x.jsonl another name"
    ):
        make_task("boolq", path="x.jsonl")


def test_a_task_name_that_is_no_file_name_is_refused() -> None:
    with pytest.raises(InputError, match="use up to 64 of a-z"):
        make_task("../escaped", path="x.jsonl")


def test_column_names_without_a_file_of_your_own_are_refused() -> None:
    with pytest.raises(InputError, match="Task 'boolq': column names are for a file of your own"):
        make_task("boolq", question="q")


# Rows of the reference mirror that are themselves damaged: (data set, split) -> line numbers.
DAMAGED = {("tau/commonsense_qa", "validation"): {103}}  # its answer is 'D' and its choices are A, B, C


@pytest.mark.parametrize("name", _published())
def test_every_real_row_becomes_an_example(name: str, shared: Path) -> None:
    task = get_task(name)
    mirror = shared / "data" / "hub"
    assert isinstance(task.source, HubSource)
    files = sorted((mirror / task.source.id / task.source.config).glob("*.jsonl"))
    if not files:
        pytest.skip(f"no rows of {task.source.id} in {mirror}")
    for file in files:
        refused = set()
        for number, placed in enumerate(task.load(file.stem, mirror), 1):
            try:
                example = task.example(placed.row)
            except RowError:
                refused.add(number)
                continue
            assert example.prompt == example.prompt.strip()
            assert all(choice.startswith(" ") and choice == f" {choice.strip()}" for choice in example.choices)
            assert 0 <= example.answer < len(set(example.choices)) == len(example.choices)
        assert refused <= DAMAGED.get((task.source.id, file.stem), set())
