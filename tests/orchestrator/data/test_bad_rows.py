"""Rows that cannot be used: a few are left out, a fault of a whole file is one error whose remedy works."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.data.bad_rows import BadRow, Tally, refuse
from orchestrator.data.example import RowError
from orchestrator.data.splits import Splits, split_examples
from orchestrator.data.tasks import make_task
from orchestrator.data.tasks.own_faults import choice_columns
from orchestrator.errors import InputError

Row = dict[str, Any]
COLOURS = ["red", "green", "blue", "grey"]


def _row(n: int, answer: Any) -> Row:
    return {"question": f"Which of {n}?", "choices": COLOURS, "answer": answer}


def _task(folder: Path, rows: list[Row], **keys: Any) -> Any:
    path = folder / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return make_task("mine", path=path, **keys)


def _refusal(folder: Path, rows: list[Row], **keys: Any) -> str:
    """Return the one message, which skipping does not change and which does not offer it."""
    told = []
    for skip in (False, True):
        with pytest.raises(InputError) as caught:
            split_examples(_task(folder, rows, **keys), skip_bad_rows=skip)
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert "skip" not in told[0]
    return told[0]


def _advised(message: str) -> list[dict[str, Any]]:
    """Return the keys that a message says to write, as YAML reads them, each advice for itself."""
    return [yaml.safe_load(key) for key in re.findall(r"(?:choices: \[.*?\]|answer_base: \d)", message)]


def _examples(splits: Splits) -> dict[str, str]:
    """Return the right answer of each question."""
    return {e.prompt: e.choices[e.answer].strip() for each in splits.by_name().values() for e in each}


# --- how many are few


@pytest.mark.parametrize(
    ("rows", "bad", "few"), [(3, 1, True), (40, 2, True), (40, 3, False), (100, 5, True), (2, 2, False)]
)
def test_one_bad_row_or_one_in_twenty_is_left_out_and_more_are_not(rows: int, bad: int, few: bool) -> None:
    places = [f"mine.jsonl:{n}" for n in range(1, rows + 1)]
    bad_rows = [BadRow(place, "it is bad.") for place in places[:bad]]
    if few:
        refuse(bad_rows, places, skip=True)
        with pytest.raises(InputError, match=r"^mine\.jsonl:1: it is bad\..*data\.bad_rows=skip leaves such rows out"):
            refuse(bad_rows, places, skip=False)
    else:
        for skip in (True, False):
            with pytest.raises(
                InputError, match=rf"{bad} of {rows} rows of mine\.jsonl cannot be used, too many"
            ) as told:
                refuse(bad_rows, places, skip=skip)
            assert "skip" not in str(told.value)


def test_a_bad_file_is_not_hidden_by_a_large_good_one() -> None:
    places = [*(f"train.jsonl:{n}" for n in range(1, 1001)), *(f"test.jsonl:{n}" for n in range(1, 21))]
    bad_rows = [BadRow(f"test.jsonl:{n}", "it is bad.") for n in range(1, 11)]
    with pytest.raises(InputError, match=r"^test\.jsonl:1: .*10 of 20 rows of test\.jsonl"):
        refuse(bad_rows, places, skip=True)


@pytest.mark.parametrize(("rows", "bad"), [(1000, 0), (1000, 30), (60, 3), (10, 0), (10, 1), (5000, 250)])
def test_what_may_be_bad_in_a_draw_never_exceeds_what_may_be_bad_in_its_file(rows: int, bad: int) -> None:
    whole = Tally(rows, bad)
    left = max(1, rows // 20) - bad
    rooms = [whole.room(drawn) for drawn in range(1, whole.good + 1)]
    assert max(rooms) <= left
    assert rooms[-1] == left
    assert min(rooms) >= min(1, left)


def test_a_draw_may_hold_by_chance_more_bad_rows_than_its_part_of_them() -> None:
    assert Tally(1000).room(20) == pytest.approx(1 + 4 * 0.98**0.5)
    assert Tally(1000, 50).room(20) == 0


def test_a_split_whose_only_row_is_bad_names_the_row_and_its_reason(tmp_path: Path) -> None:
    test = tmp_path / "test.jsonl"
    test.write_text(json.dumps(_row(1, 9)) + "\n")
    task = _task(tmp_path, [_row(n, 9 if n == 3 else n % 4) for n in range(40)], test=test)
    with pytest.raises(
        InputError, match=r"no row of 'test' is left, for .*test\.jsonl:1: column 'answer' is 9, outside"
    ):
        split_examples(task, skip_bad_rows=True)


def test_the_first_bad_row_of_a_file_is_named_and_the_others_are_counted(tmp_path: Path) -> None:
    rows = [_row(n, 9 if n in (20, 4, 33) else n % 4) for n in range(80)]
    with pytest.raises(InputError, match=r"mine\.jsonl:5: column 'answer' is 9.*So are 2 other rows\."):
        split_examples(_task(tmp_path, rows))
    splits = split_examples(_task(tmp_path, rows), skip_bad_rows=True)
    assert splits.report.skipped == 3
    assert len(_examples(splits)) == 77


# --- answers that count from another number


WRITTEN: dict[str, Callable[[int], Any]] = {
    "numbers": lambda n: n,
    "digits as text": str,
    "spaced digits": " {} ".format,
}


@pytest.mark.parametrize("written", WRITTEN)
def test_answers_that_count_from_1_are_refused_with_the_key_that_mends_it(written: str, tmp_path: Path) -> None:
    rows = [_row(n, WRITTEN[written](n % 4 + 1)) for n in range(40)]
    told = _refusal(tmp_path, rows)
    assert "they count from 1: write answer_base: 1 in the task's entry." in told
    (keys,) = _advised(told)
    answers = _examples(split_examples(_task(tmp_path, rows, **keys)))
    assert answers == {f"Question: Which of {n}?\nAnswer:": COLOURS[n % 4] for n in range(40)}


@pytest.mark.parametrize("last", [1, 2])
def test_answers_that_count_from_1_are_seen_where_few_reach_the_last_choice(last: int, tmp_path: Path) -> None:
    """Skipping those few would train all others with the choice after theirs."""
    rows = [_row(n, 4 if n < last else n % 3 + 1) for n in range(100)]
    assert _advised(_refusal(tmp_path, rows)) == [{"answer_base": 1}]


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("strays", [1, 3])
def test_a_stray_0_does_not_hide_that_answers_count_from_1(strays: int, written: str, tmp_path: Path) -> None:
    rows = [_row(n, WRITTEN[written](0 if n < strays else n % 4 + 1)) for n in range(60)]
    (keys,) = _advised(_refusal(tmp_path, rows))
    assert keys == {"answer_base": 1}
    splits = split_examples(_task(tmp_path, rows, **keys), skip_bad_rows=True)
    assert splits.report.skipped == strays
    assert _examples(splits) == {f"Question: Which of {n}?\nAnswer:": COLOURS[n % 4] for n in range(strays, 60)}


def test_zeros_as_rare_as_chance_makes_them_among_many_choices_are_no_strays(tmp_path: Path) -> None:
    many = [f"colour {n}" for n in range(25)]
    rows = [{**_row(n, 25 if n == 7 else n % 25), "choices": many} for n in range(100)]
    assert split_examples(_task(tmp_path, rows), skip_bad_rows=True).report.skipped == 1


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
    (keys,) = _advised(_refusal(tmp_path, rows, choices=names))
    assert keys == {"answer_base": 1}
    answers = _examples(split_examples(_task(tmp_path, rows, choices=names, **keys)))
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
    assert split_examples(_task(tmp_path, rows, choices=names), skip_bad_rows=True).report.skipped == 1


def test_a_slip_to_the_number_of_choices_in_a_file_that_counts_from_0_is_left_out(tmp_path: Path) -> None:
    rows = [_row(n, 4 if n in (5, 30) else n % 4) for n in range(60)]
    assert split_examples(_task(tmp_path, rows), skip_bad_rows=True).report.skipped == 2


def test_digits_as_text_that_count_from_0_are_refused_with_the_key_that_mends_it(tmp_path: Path) -> None:
    rows = [_row(n, str(n % 4)) for n in range(40)]
    (keys,) = _advised(_refusal(tmp_path, rows))
    answers = _examples(split_examples(_task(tmp_path, rows, **keys)))
    assert answers == {f"Question: Which of {n}?\nAnswer:": COLOURS[n % 4] for n in range(40)}


def test_digits_as_text_that_may_count_from_either_leave_the_choice_to_the_reader(tmp_path: Path) -> None:
    rows = [_row(n, str(n % 2 + 1)) for n in range(40)]
    ways = _advised(_refusal(tmp_path, rows))
    assert ways == [{"answer_base": 0}, {"answer_base": 1}]
    zero, one = (_examples(split_examples(_task(tmp_path, rows, **keys))) for keys in ways)
    assert [{*answers.values()} for answers in (zero, one)] == [{"green", "blue"}, {"red", "green"}]


def test_a_base_of_1_that_the_file_contradicts_is_refused_with_the_other(tmp_path: Path) -> None:
    rows = [_row(n, n % 4) for n in range(40)]
    told = _refusal(tmp_path, rows, answer_base=1)
    assert "column 'answer' is 0, outside 1..4 (1 is the first choice)" in told
    (keys,) = _advised(told)
    split_examples(_task(tmp_path, rows, **keys))


def test_numbers_that_are_texts_of_choices_are_refused_as_such(tmp_path: Path) -> None:
    rows = [
        {"question": f"Half of {2 * n}?", "choices": [str(n), str(n + 1), str(n + 2)], "answer": n}
        for n in range(2, 40)
    ]
    assert "write it as text, in quotation marks" in _refusal(tmp_path, rows)
    written = [{**row, "answer": str(row["answer"])} for row in rows]
    answers = _examples(split_examples(_task(tmp_path, written)))
    assert answers["Question: Half of 20?\nAnswer:"] == "10"


def test_a_number_in_a_file_of_letters_says_nothing_about_the_others(tmp_path: Path) -> None:
    rows = [_row(n, 4 if n == 7 else "ABCD"[n % 4]) for n in range(40)]
    assert split_examples(_task(tmp_path, rows), skip_bad_rows=True).report.skipped == 1


def test_digits_that_are_texts_of_choices_stay_texts_unless_the_base_is_given(tmp_path: Path) -> None:
    row = {"question": "q", "choices": ["2", "1", "0"], "answer": "2"}
    assert _task(tmp_path, [row]).example(row).answer == 0
    assert _task(tmp_path, [row], answer_base=0).example(row).answer == 2
    assert _task(tmp_path, [row], answer_base=1).example(row).answer == 1


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
    told = _refusal(tmp_path, rows)
    assert "no column 'choices'" in told
    (keys,) = _advised(told)
    assert keys == {"choices": names}
    assert {*_examples(split_examples(_task(tmp_path, rows, **keys))).values()} == {"red"}


@pytest.mark.parametrize("empty", ["", "  ", None])
def test_an_empty_column_of_a_choice_is_no_choice(empty: str | None, tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    row = {"question": "q", "a": "red", "b": empty, "c": "blue", "d": empty, "answer": "c"}
    example = _task(tmp_path, [row], choices=names).example(row)
    assert (example.choices, example.answer) == ((" red", " blue"), 1)


@pytest.mark.parametrize("answer", [2, "C", "c", "blue", "o3"])
def test_a_choice_of_its_own_column_is_meant_by_number_letter_text_or_column(answer: int | str, tmp_path: Path) -> None:
    row = {"question": "q", "o1": "red", "o2": "green", "o3": "blue", "answer": answer}
    assert _task(tmp_path, [row], choices=["o1", "o2", "o3"]).example(row).answer == 2


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
    task = _task(tmp_path, [row], choices=["o1", "o2", "o3"])
    with pytest.raises(RowError, match=words):
        task.example(changed)


@pytest.mark.parametrize(
    ("key", "there", "near"),
    [("choices", "choice", "choice"), ("answer", "answers", "answers"), ("question", "q", None)],
)
def test_a_column_that_no_row_has_is_refused_with_the_nearest(
    key: str, there: str, near: str | None, tmp_path: Path
) -> None:
    rows = [{there if name == key else name: value for name, value in _row(n, n % 4).items()} for n in range(40)]
    told = _refusal(tmp_path, rows)
    assert f"No row has a column {key!r}: write the column that is meant under {key} in the task's entry" in told
    assert near is None or told.endswith(f"perhaps {near!r}.")
    split_examples(_task(tmp_path, rows, **{key: there}))


def test_a_typo_in_a_list_of_columns_is_refused(tmp_path: Path) -> None:
    rows = [_wide(n, ["option_a", "option_b", "option_c"]) for n in range(20)]
    told = _refusal(tmp_path, rows, choices=["option_a", "optoin_b", "option_c"])
    assert "mine.jsonl:1: no column 'optoin_b'; there are: question, option_a" in told
    assert _advised(told) == [{"choices": ["option_a", "option_b", "option_c"]}]


def test_columns_count_as_choices_only_from_the_first_one_after_another() -> None:
    assert choice_columns(["id", "question2", "answer"]) == []
    assert choice_columns(["x2", "x3"]) == []
    assert choice_columns(["ob", "oa", "od", "label"]) == ["oa", "ob"]
    assert choice_columns(["option10", *(f"option{n}" for n in range(1, 10))]) == [f"option{n}" for n in range(1, 11)]


def test_a_benchmark_whose_rows_are_all_bad_is_not_skipped_either(tmp_path: Path) -> None:
    """Rows whose answers are hidden, as published test splits have them."""
    folder = tmp_path / "allenai/winogrande/winogrande_xl"
    folder.mkdir(parents=True)
    rows = [
        {"sentence": f"Ann met Bea {n} times for _ .", "option1": "Ann", "option2": "Bea", "answer": ""}
        for n in range(30)
    ]
    for split in ("train", "validation"):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"a split that hides its answers\?.*30 of 30 rows of .*train\.jsonl") as told:
        split_examples(make_task("winogrande"), mirror=tmp_path, skip_bad_rows=True)
    assert "skip" not in str(told.value)
