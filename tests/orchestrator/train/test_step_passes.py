"""The passes of a step: every rank runs passes of the same lanes, and each row counts once, in a short batch too."""

from __future__ import annotations

from collections import Counter
from itertools import chain, product

import pytest
import torch

from orchestrator.train.step_passes import GlobalBatch, StepCut, passes_of_step, rows_of_rank
from orchestrator.train.to_device import passes_on


def batch(rows: int, length: int = 5) -> GlobalBatch:
    return GlobalBatch.of([(tuple(range(length)), 3) for _ in range(rows)])


@pytest.mark.parametrize(("rows", "micro_batch", "world"), [(32, 8, 2), (32, 4, 1), (30, 8, 2), (3, 8, 2), (32, 2, 4)])
def test_micro_steps_and_ranks_take_every_row_of_a_batch_once_in_order(rows: int, micro_batch: int, world: int) -> None:
    micro_steps = 32 // (micro_batch * world)
    taken = [
        rows_of_rank(rows, micro_step, StepCut(rank, world, micro_batch, micro_steps, 60, in_blocks=False))
        for micro_step in range(micro_steps)
        for rank in range(world)
    ]
    assert list(chain.from_iterable(taken)) == list(range(rows))
    assert all(len(numbers) <= micro_batch for numbers in taken)


@pytest.mark.parametrize(("world", "micro_batch"), [(1, 4), (2, 4), (2, 8), (3, 2), (8, 2)])
@pytest.mark.parametrize("lanes", [1, 3])
def test_ranks_have_equally_many_passes_and_each_row_counts_once(world: int, micro_batch: int, lanes: int) -> None:
    total = 48
    for rows in range(1, total + 1):
        batches = {lane: batch(max(1, rows - 7 * lane)) for lane in range(lanes)}
        micro_steps = total // (world * micro_batch)
        passes_of_rank = [
            passes_of_step(batches, lanes, StepCut(rank, world, micro_batch, micro_steps, 60, in_blocks=False))
            for rank in range(world)
        ]
        assert len({len(passes) for passes in passes_of_rank}) == 1
        for same_pass in zip(*passes_of_rank, strict=True):  # every rank computes the same lanes
            assert len({tuple(bool(count) for count in step_pass.counts) for step_pass in same_pass}) == 1
        for lane in range(lanes):
            numbers = []
            for step_pass in chain.from_iterable(passes_of_rank):
                begin = sum(step_pass.counts[:lane])
                of_lane = step_pass.row_numbers[begin : begin + step_pass.counts[lane]]
                numbers += of_lane if step_pass.counted_L[lane] else []
            assert sorted(numbers) == list(range(len(batches[lane].rows)))


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_take_together_the_rows_that_one_rank_takes_alone(world: int) -> None:
    """A row keeps its number in its lane's batch, and so its dropout, on every rank; rows that stand in aside."""
    batches = {lane: batch(rows, 9) for lane, rows in ((0, 5), (2, 3))}

    def taken(world: int) -> Counter[tuple[int, int]]:
        rows: Counter[tuple[int, int]] = Counter()
        for rank in range(world):
            for step_pass in passes_of_step(batches, 3, StepCut(rank, world, 2, 8 // (2 * world), 10**9, False)):
                lanes = [lane for lane, count in enumerate(step_pass.counts) for _ in range(count)]
                for lane, number in zip(lanes, step_pass.row_numbers, strict=True):
                    rows[lane, number] += int(step_pass.counted_L[lane])
        return rows

    assert taken(world) == taken(1) == Counter([(0, row) for row in range(5)] + [(2, row) for row in range(3)])


def test_the_passes_on_a_device_are_the_passes_that_were_built() -> None:
    """The meta device stands for a GPU: shapes and types survive the one copy of all indices."""
    for in_blocks, rows in product((False, True), (3, 8)):
        batches = {0: batch(rows, 5), 1: batch(rows, 40)}
        built = passes_of_step(batches, 2, StepCut(0, 1, 8, 1, 10_000, in_blocks))
        moved = passes_on(torch.device("meta"), built)
        for before, after in zip(built, moved, strict=True):
            assert after.token_batch.ids_BT.is_meta
            for name in ("ids_BT", "where_A", "wanted_A", "positions_BT"):
                here, there = getattr(before.token_batch, name), getattr(after.token_batch, name)
                assert (here is None) == (there is None)
                assert here is None or (here.shape, here.dtype) == (there.shape, there.dtype)
            assert after.weight_L.dtype == torch.float64
