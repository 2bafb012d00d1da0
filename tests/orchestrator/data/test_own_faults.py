"""Faults that the rows of a file have in common: refused with the key of the recipe that mends them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.data.example import RowError
from orchestrator.data.splits import split_examples
from orchestrator.data.tasks.own_faults import choice_columns
from tests.helpers.own_rows import COLOURS, Row, advised, colour_row, colour_task, refusal, right_answers

# --- answers that count from another number


WRITTEN: dict[str, Callable[[int], Any]] = {
    "numbers": lambda n: n,
    "digits as text": str,
    "spaced digits": " {} ".format,
}


@pytest.mark.parametrize("written", WRITTEN)
def test_answers_that_count_from_1_are_refused_with_the_key_that_mends_it(written: str, tmp_path: Path) -> None:
    rows = [colour_row(n, WRITTEN[written](n % 4 + 1)) for n in range(40)]
    told = refusal(tmp_path, rows)
    assert "they count from 1: write answer_base: 1 in the task's entry." in told
    (keys,) = advised(told)
    answers = right_answers(split_examples(colour_task(tmp_path, rows, **keys)))
    assert answers == {f"Question: Which of {n}?\nAnswer:": COLOURS[n % 4] for n in range(40)}


@pytest.mark.parametrize("last", [1, 2])
def test_answers_that_count_from_1_are_seen_where_few_reach_the_last_choice(last: int, tmp_path: Path) -> None:
    """Skipping those few would train all others with the choice after theirs."""
    rows = [colour_row(n, 4 if n < last else n % 3 + 1) for n in range(100)]
    assert advised(refusal(tmp_path, rows)) == [{"answer_base": 1}]


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("strays", [1, 3])
def test_a_stray_0_does_not_hide_that_answers_count_from_1(strays: int, written: str, tmp_path: Path) -> None:
    rows = [colour_row(n, WRITTEN[written](0 if n < strays else n % 4 + 1)) for n in range(60)]
    (keys,) = advised(refusal(tmp_path, rows))
    assert keys == {"answer_base": 1}
    splits = split_examples(colour_task(tmp_path, rows, **keys), skip_bad_rows=True)
    assert splits.report.skipped == strays
    assert right_answers(splits) == {f"Question: Which of {n}?\nAnswer:": COLOURS[n % 4] for n in range(strays, 60)}


def test_zeros_as_rare_as_chance_makes_them_among_many_choices_are_no_strays(tmp_path: Path) -> None:
    many = [f"colour {n}" for n in range(25)]
    rows = [{**colour_row(n, 25 if n == 7 else n % 25), "choices": many} for n in range(100)]
    assert split_examples(colour_task(tmp_path, rows), skip_bad_rows=True).report.skipped == 1


@pytest.mark.parametrize("empty", ["", None])
@pytest.mark.parametrize("last", [2, 10])
def test_answers_that_count_from_1_are_seen_by_the_filled_cells_of_a_row(
    last: int, empty: str | None, tmp_path: Path
) -> None:
    """No answer is the number of columns: the last column is empty in most rows."""
    names = ["a", "b", "c", "d"]
    rows = [
        {
            "question": f"Which of {n}?",
            **dict(zip(names, [*COLOURS[:3], "grey" if n >= 50 else empty], strict=True)),
            "answer": 3 if n < last else n % 2 + 1,
        }
        for n in range(60)
    ]
    (keys,) = advised(refusal(tmp_path, rows, choices=names))
    assert keys == {"answer_base": 1}
    answers = right_answers(split_examples(colour_task(tmp_path, rows, choices=names, **keys)))
    assert answers == {f"Question: Which of {n}?\nAnswer:": "blue" if n < last else COLOURS[n % 2] for n in range(60)}


def test_an_empty_cell_between_choices_does_not_make_its_number_the_last(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    cells = ["red", None, "blue", "grey"]
    rows = [
        {
            "question": f"Which of {n}?",
            **dict(zip(names, cells, strict=True)),
            "answer": 4 if n == 9 else (0, 2, 3)[n % 3],
        }
        for n in range(60)
    ]
    assert split_examples(colour_task(tmp_path, rows, choices=names), skip_bad_rows=True).report.skipped == 1


def test_a_slip_to_the_number_of_choices_in_a_file_that_counts_from_0_is_left_out(tmp_path: Path) -> None:
    rows = [colour_row(n, 4 if n in (5, 30) else n % 4) for n in range(60)]
    assert split_examples(colour_task(tmp_path, rows), skip_bad_rows=True).report.skipped == 2


def test_digits_as_text_that_count_from_0_are_refused_with_the_key_that_mends_it(tmp_path: Path) -> None:
    rows = [colour_row(n, str(n % 4)) for n in range(40)]
    (keys,) = advised(refusal(tmp_path, rows))
    answers = right_answers(split_examples(colour_task(tmp_path, rows, **keys)))
    assert answers == {f"Question: Which of {n}?\nAnswer:": COLOURS[n % 4] for n in range(40)}


def test_digits_as_text_that_may_count_from_either_leave_the_choice_to_the_reader(tmp_path: Path) -> None:
    rows = [colour_row(n, str(n % 2 + 1)) for n in range(40)]
    ways = advised(refusal(tmp_path, rows))
    assert ways == [{"answer_base": 0}, {"answer_base": 1}]
    zero, one = (right_answers(split_examples(colour_task(tmp_path, rows, **keys))) for keys in ways)
    assert [{*answers.values()} for answers in (zero, one)] == [{"green", "blue"}, {"red", "green"}]


def test_a_base_of_1_that_the_file_contradicts_is_refused_with_the_other(tmp_path: Path) -> None:
    rows = [colour_row(n, n % 4) for n in range(40)]
    told = refusal(tmp_path, rows, answer_base=1)
    assert "column 'answer' is 0, outside 1..4 (1 is the first choice)" in told
    (keys,) = advised(told)
    split_examples(colour_task(tmp_path, rows, **keys))


def test_numbers_that_are_texts_of_choices_are_refused_as_such(tmp_path: Path) -> None:
    rows = [
        {"question": f"Half of {2 * n}?", "choices": [str(n), str(n + 1), str(n + 2)], "answer": n}
        for n in range(2, 40)
    ]
    assert "write it as text, in quotation marks" in refusal(tmp_path, rows)
    written = [{**row, "answer": str(row["answer"])} for row in rows]
    answers = right_answers(split_examples(colour_task(tmp_path, written)))
    assert answers["Question: Half of 20?\nAnswer:"] == "10"


def test_a_number_in_a_file_of_letters_says_nothing_about_the_others(tmp_path: Path) -> None:
    rows = [colour_row(n, 4 if n == 7 else "ABCD"[n % 4]) for n in range(40)]
    assert split_examples(colour_task(tmp_path, rows), skip_bad_rows=True).report.skipped == 1


def test_digits_that_are_texts_of_choices_stay_texts_unless_the_base_is_given(tmp_path: Path) -> None:
    row = {"question": "q", "choices": ["2", "1", "0"], "answer": "2"}
    assert colour_task(tmp_path, [row]).example(row).answer == 0
    assert colour_task(tmp_path, [row], answer_base=0).example(row).answer == 2
    assert colour_task(tmp_path, [row], answer_base=1).example(row).answer == 1


# --- columns


def _wide(n: int, names: list[str], count: int = 4) -> Row:
    return {
        "question": f"Which of {n}?",
        **dict(zip(names, [*COLOURS[:count], "", "", ""], strict=False)),
        "answer": "A",
    }


@pytest.mark.parametrize(
    "names",
    [
        ["option_a", "option_b", "option_c", "option_d"],
        ["A", "B", "C", "D"],
        ["opa", "opb", "opc", "opd"],
        ["ending0", "ending1", "ending2", "ending3"],
        ["choice 1", "choice 2", "choice 3", "choice 4"],
    ],
    ids=lambda names: names[0],
)
def test_choices_in_columns_of_their_own_are_refused_with_the_list_that_reads_them(
    names: list[str], tmp_path: Path
) -> None:
    rows = [_wide(n, names) for n in range(40)]
    told = refusal(tmp_path, rows)
    assert "no column 'choices'" in told
    (keys,) = advised(told)
    assert keys == {"choices": names}
    assert {*right_answers(split_examples(colour_task(tmp_path, rows, **keys))).values()} == {"red"}


@pytest.mark.parametrize("empty", ["", "  ", None])
def test_an_empty_column_of_a_choice_is_no_choice(empty: str | None, tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    row = {"question": "q", "a": "red", "b": empty, "c": "blue", "d": empty, "answer": "c"}
    example = colour_task(tmp_path, [row], choices=names).example(row)
    assert (example.choices, example.answer) == ((" red", " blue"), 1)


@pytest.mark.parametrize("answer", [2, "C", "c", "blue", "o3"])
def test_a_choice_of_its_own_column_is_meant_by_number_letter_text_or_column(answer: int | str, tmp_path: Path) -> None:
    row = {"question": "q", "o1": "red", "o2": "green", "o3": "blue", "answer": answer}
    assert colour_task(tmp_path, [row], choices=["o1", "o2", "o3"]).example(row).answer == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"answer": "B"}, "column 'answer' is 'B', and the column of that choice is empty"),
        ({"o1": ""}, r"columns 'o1', 'o2', 'o3' hold 1 choice\(s\); at least two"),
        ({"o1": "blue"}, "columns 'o1', 'o2', 'o3' has identical choices: 'blue' occurs 2 times"),
        ({"o3": 7}, "column 'o3' is a number; text was expected"),
        ({"o2": ...}, "no column 'o2'; there are: question, o1, o3, answer. Where a choice is missing, write null"),
        ({"answer": "D"}, r"neither a letter A\.\.C nor the text of a choice"),
    ],
)
def test_a_bad_row_with_columns_of_choices_is_refused_with_the_reason(change: Row, words: str, tmp_path: Path) -> None:
    row = {"question": "q", "o1": "red", "o2": None, "o3": "blue", "answer": 0}
    changed = {name: value for name, value in {**row, **change}.items() if value is not ...}
    task = colour_task(tmp_path, [row], choices=["o1", "o2", "o3"])
    with pytest.raises(RowError, match=words):
        task.example(changed)


@pytest.mark.parametrize(
    ("key", "there", "near"),
    [("choices", "choice", "choice"), ("answer", "answers", "answers"), ("question", "q", None)],
)
def test_a_column_that_no_row_has_is_refused_with_the_nearest(
    key: str, there: str, near: str | None, tmp_path: Path
) -> None:
    rows = [{there if name == key else name: value for name, value in colour_row(n, n % 4).items()} for n in range(40)]
    told = refusal(tmp_path, rows)
    assert f"No row has a column {key!r}: write the column that is meant under {key} in the task's entry" in told
    assert near is None or told.endswith(f"perhaps {near!r}.")
    split_examples(colour_task(tmp_path, rows, **{key: there}))


def test_a_typo_in_a_list_of_columns_is_refused(tmp_path: Path) -> None:
    rows = [_wide(n, ["option_a", "option_b", "option_c"]) for n in range(20)]
    told = refusal(tmp_path, rows, choices=["option_a", "optoin_b", "option_c"])
    assert "mine.jsonl:1: no column 'optoin_b'; there are: question, option_a" in told
    assert advised(told) == [{"choices": ["option_a", "option_b", "option_c"]}]


def test_columns_count_as_choices_only_from_the_first_one_after_another() -> None:
    assert choice_columns(["id", "question2", "answer"]) == []
    assert choice_columns(["x2", "x3"]) == []
    assert choice_columns(["ob", "oa", "od", "label"]) == ["oa", "ob"]
    assert choice_columns(["option10", *(f"option{n}" for n in range(1, 10))]) == [f"option{n}" for n in range(1, 11)]
