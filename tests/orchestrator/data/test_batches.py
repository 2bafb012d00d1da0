"""Which rows form which batch, in which order."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest

from orchestrator.data.batches import BUCKET_BATCHES, count_steps, draw_batches

LENGTHS = random.Random(1).choices(range(5, 60), k=300)


def draw(seed: int = 0, epochs: float = 1, task: str = "a", size: int = 8, rows: int = 300) -> list[list[int]]:
    return list(draw_batches(LENGTHS[:rows], global_batch=size, epochs=epochs, task=task, seed=seed))


def buckets(batches: list[list[int]], size: int = 8) -> list[set[int]]:
    """Return for each batch the buckets that its rows are from."""
    by_length = sorted(range(len(LENGTHS)), key=lambda row: (LENGTHS[row], row))
    bucket = {row: index // (size * BUCKET_BATCHES) for index, row in enumerate(by_length)}
    return [{bucket[row] for row in batch} for batch in batches]


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 63, 64, 65, 300])
@pytest.mark.parametrize("size", [1, 8, 500])
def test_every_row_comes_once_an_epoch(rows: int, size: int) -> None:
    batches = draw(epochs=2, rows=rows, size=size)
    epoch = len(batches) // 2
    for part in (batches[:epoch], batches[epoch:]):
        assert sorted(row for batch in part for row in batch) == list(range(rows))
        assert Counter(len(batch) for batch in part if len(batch) < size).total() <= 1


@pytest.mark.parametrize("rows", [1, 5, 8, 64, 100, 299, 300])
@pytest.mark.parametrize("epochs", [0.001, 0.1, 0.5, 0.99, 1, 1.1, 1.5, 2, 2.25, 3])
@pytest.mark.parametrize("size", [1, 8, 32])
def test_as_many_batches_are_drawn_as_steps_are_counted(rows: int, epochs: float, size: int) -> None:
    assert len(draw(epochs=epochs, rows=rows, size=size)) == count_steps(rows, size, epochs) >= 1


@pytest.mark.parametrize(
    ("rows", "size", "epochs", "steps"),
    [(320, 32, 1.1, 11), (320, 32, 2, 20), (321, 32, 2, 22), (320, 32, 0.5, 5), (320, 32, 0.51, 6),
     (1000, 10, 1.1, 110), (1000, 10, 2.3, 230), (1, 32, 0.01, 1), (320, 32, 1e-5, 1)],
)  # fmt: skip
def test_steps_are_counted_in_decimal_as_a_person_would(rows: int, size: int, epochs: float, steps: int) -> None:
    assert count_steps(rows, size, epochs) == steps


def test_a_part_of_an_epoch_repeats_no_row() -> None:
    rows = [row for batch in draw(epochs=0.5) for row in batch]
    assert len(rows) == len(set(rows)) >= 18 * 8 + 300 % 8  # one batch is short


def test_the_same_seed_draws_the_same_batches_and_another_seed_and_epoch_others() -> None:
    assert draw(3, 2) == draw(3, 2)
    assert draw(3) != draw(4)
    first, second = draw(epochs=2)[:38], draw(epochs=2)[38:]
    assert first != second


def test_a_longer_training_begins_like_a_shorter_one() -> None:
    assert draw(epochs=3)[:38] == draw(epochs=1)


def test_rows_of_a_batch_are_of_one_bucket() -> None:
    assert all(len(met) == 1 for met in buckets(draw(0, 2)))


def test_a_seed_draws_the_order_of_the_buckets_and_which_rows_go_together() -> None:
    """Where the order were the task's, no spread over seeds would hold what the order of lengths does to a run."""
    orders = [buckets(draw(seed)) for seed in range(20)]
    assert all(first != second for first, second in pairwise(orders))
    first_lengths = [sum(LENGTHS[row] for row in draw(seed)[0]) for seed in range(20)]
    assert max(first_lengths) > 3 * min(first_lengths)  # the first batch is of short rows, or of long ones
    together = [{frozenset(batch) for batch in draw(seed)} for seed in range(2)]
    assert len(together[0] & together[1]) <= 1  # the short batch of the last bucket may be the same


def test_another_task_draws_another_order() -> None:
    assert buckets(draw(task="a")) != buckets(draw(task="b"))


def test_rows_of_a_batch_are_of_similar_length() -> None:
    spread = [max(LENGTHS[row] for row in batch) - min(LENGTHS[row] for row in batch) for batch in draw()]
    assert max(spread) < 20
