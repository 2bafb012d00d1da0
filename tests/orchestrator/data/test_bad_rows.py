"""Rows that cannot be used: a few are left out, a fault of a whole file is one error whose remedy works."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.data.bad_rows import BadRow, Tally, refuse
from orchestrator.data.splits import split_examples
from orchestrator.data.tasks import make_task
from orchestrator.errors import InputError
from tests.helpers.own_rows import colour_row, colour_task, right_answers

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
    test.write_text(json.dumps(colour_row(1, 9)) + "\n")
    task = colour_task(tmp_path, [colour_row(n, 9 if n == 3 else n % 4) for n in range(40)], test=test)
    with pytest.raises(
        InputError, match=r"no row of 'test' is left, for .*test\.jsonl:1: column 'answer' is 9, outside"
    ):
        split_examples(task, skip_bad_rows=True)


def test_the_first_bad_row_of_a_file_is_named_and_the_others_are_counted(tmp_path: Path) -> None:
    rows = [colour_row(n, 9 if n in (20, 4, 33) else n % 4) for n in range(80)]
    with pytest.raises(InputError, match=r"mine\.jsonl:5: column 'answer' is 9.*So are 2 other rows\."):
        split_examples(colour_task(tmp_path, rows))
    splits = split_examples(colour_task(tmp_path, rows), skip_bad_rows=True)
    assert splits.report.skipped == 3
    assert len(right_answers(splits)) == 77


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
