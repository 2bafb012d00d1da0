"""Splits without leakage, the same for every method, seed and machine."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from orchestrator.errors import InputError
from tests.helpers.sums import splits_of, sum_row

# --- splits


def test_the_splits_have_the_sizes_that_were_asked_for(tmp_path: Path) -> None:
    rows, test = [sum_row(n) for n in range(60)], [sum_row(n) for n in range(100, 120)]
    splits = splits_of(tmp_path, rows, test, train_samples=30, validation_samples=12, eval_samples=5)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (30, 12, 5)
    report = splits.report
    assert (report.read_train, report.read_test, report.duplicates, report.leaked) == (60, 20, 0, 0)
    assert (report.train, report.validation, report.test) == (30, 12, 5)


@pytest.mark.parametrize(("rows", "expected"), [(2, 1), (9, 1), (40, 4), (5999, 500)])
def test_validation_is_a_tenth_at_least_one_row_and_at_most_500(rows: int, expected: int, tmp_path: Path) -> None:
    splits = splits_of(tmp_path, [sum_row(n) for n in range(rows)], [sum_row(-1)])
    assert len(splits.validation) == expected
    assert len(splits.train) == rows - expected


def test_no_row_is_on_two_sides(tmp_path: Path) -> None:
    shared = [sum_row(n) for n in range(100, 110)]
    splits = splits_of(tmp_path, [sum_row(n) for n in range(40)] + shared, shared, eval_samples=3)
    prompts = [{example.prompt for example in examples} for examples in splits.by_name().values()]
    assert splits.report.leaked == 10
    assert sum(map(len, prompts)) == len(set.union(*prompts))
    assert not {f"Question: {row['question']}\nAnswer:" for row in shared} & (prompts[0] | prompts[1])


def test_leakage_is_seen_through_case_white_space_and_order_of_the_choices(tmp_path: Path) -> None:
    test = [{"question": "Where  IS it?", "choices": ["Here", "there"], "answer": 0}]
    disguised = {"question": "where is it?", "choices": ["there", "here"], "answer": 1}
    splits = splits_of(tmp_path, [*(sum_row(n) for n in range(5)), disguised], test)
    assert splits.report.leaked == 1


def test_a_repeated_row_is_counted_and_used_once(tmp_path: Path) -> None:
    splits = splits_of(tmp_path, [sum_row(n % 10) for n in range(30)], [sum_row(99)])
    assert splits.report.duplicates == 20
    assert len({example.prompt for example in splits.train + splits.validation}) == 10


def test_the_same_question_with_other_choices_is_another_row(tmp_path: Path) -> None:
    other = {**sum_row(0), "choices": ["four", "five"], "answer": 0}
    assert splits_of(tmp_path, [sum_row(0), other, sum_row(1)], [sum_row(99)]).report.duplicates == 0


def test_the_same_settings_give_the_same_splits_and_another_split_seed_others(tmp_path: Path) -> None:
    rows, test = [sum_row(n) for n in range(60)], [sum_row(n) for n in range(100, 140)]
    first = splits_of(tmp_path, rows, test, eval_samples=20)
    assert splits_of(tmp_path, rows, test, eval_samples=20) == first
    second = splits_of(tmp_path, rows, test, eval_samples=20, split_seed=1)
    assert second.validation != first.validation
    assert second.test != first.test


def test_which_rows_are_chosen_does_not_depend_on_their_order_in_the_file(tmp_path: Path) -> None:
    rows, test = [sum_row(n) for n in range(60)], [sum_row(n) for n in range(100, 140)]
    first = splits_of(tmp_path, rows, test, train_samples=20, eval_samples=10)
    random.Random(0).shuffle(rows)
    second = splits_of(tmp_path, rows, test[::-1], train_samples=20, eval_samples=10)
    for name, examples in first.by_name().items():
        assert {each.prompt for each in second.by_name()[name]} == {each.prompt for each in examples}


def test_fewer_training_samples_are_a_part_of_more_and_leave_validation_alone(tmp_path: Path) -> None:
    rows, test = [sum_row(n) for n in range(60)], [sum_row(n) for n in range(100, 140)]
    few = splits_of(tmp_path, rows, test, train_samples=10)
    more = splits_of(tmp_path, rows, test, train_samples=30)
    assert few.validation == more.validation
    assert set(few.train) < set(more.train)


def test_the_rows_are_not_the_head_of_the_file_and_stand_in_its_order(tmp_path: Path) -> None:
    test = [sum_row(n) for n in range(100, 200)]
    splits = splits_of(tmp_path, [sum_row(n) for n in range(20)], test, eval_samples=10)
    lines = [int(place.rsplit(":", 1)[1]) for place in splits.places["test"]]
    assert lines == sorted(lines) != list(range(1, 11))
    assert [f"Question: {test[n - 1]['question']}\nAnswer:" for n in lines] == [each.prompt for each in splits.test]


def test_too_few_rows_are_refused_with_the_numbers(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"'mine': 1 row\(s\) of 'train' remain .*\(4 read, 1 repeated, 2 also in test\)"
    ):
        splits_of(tmp_path, [sum_row(0), sum_row(0), sum_row(1), sum_row(2)], [sum_row(1), sum_row(2)])
    with pytest.raises(InputError, match=r"data.validation_samples=10 leaves none of 10 rows .* use at most 9"):
        splits_of(tmp_path, [sum_row(n) for n in range(10)], [sum_row(99)], validation_samples=10)


@pytest.mark.parametrize("key", ["train_samples", "validation_samples", "eval_samples"])
def test_a_sample_count_below_one_is_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"data\.{key}=0 leaves nothing to work on"):
        splits_of(tmp_path, [sum_row(n) for n in range(10)], [sum_row(99)], **{key: 0})
