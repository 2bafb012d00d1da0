"""The passes of a step: every rank computes the same ones, whatever a batch leaves for it."""

from __future__ import annotations

from itertools import chain, product

import pytest
import torch

from orchestrator.train.step_passes import LaneBatch, Layout, passes_of_step, sent


def batch(rows: int, length: int = 5) -> LaneBatch:
    return LaneBatch.of([(tuple(range(length)), 3) for _ in range(rows)])


@pytest.mark.parametrize(("world", "micro"), [(1, 4), (2, 4), (2, 8), (3, 2), (8, 2)])
@pytest.mark.parametrize("lanes", [1, 3])
def test_ranks_have_equally_many_passes_and_each_row_counts_once(world: int, micro: int, lanes: int) -> None:
    total = 48
    for rows in range(1, total + 1):
        batches = {lane: batch(max(1, rows - 7 * lane)) for lane in range(lanes)}
        ranks = [
            passes_of_step(batches, lanes, Layout(rank, world, micro, total // (world * micro), 60, in_blocks=False))
            for rank in range(world)
        ]
        assert len({len(passes) for passes in ranks}) == 1
        for together in zip(*ranks, strict=True):  # in each, every rank computes the same lanes
            assert len({tuple(bool(count) for count in one.counts) for one in together}) == 1
        for lane in range(lanes):
            places = []
            for one in chain.from_iterable(ranks):
                begin = sum(one.counts[:lane])
                places += one.places[begin : begin + one.counts[lane]] if one.counted_L[lane] else []
            assert sorted(places) == list(range(len(batches[lane].rows)))


def test_what_is_sent_to_a_device_is_what_was_built() -> None:
    """The meta device stands for a GPU: shapes and types survive the one copy of all indices."""
    for in_blocks, rows in product((False, True), (3, 8)):
        batches = {0: batch(rows, 5), 1: batch(rows, 40)}
        built = passes_of_step(batches, 2, Layout(0, 1, 8, 1, 10_000, in_blocks))
        moved = sent(built, torch.device("meta"))
        for one, other in zip(built, moved, strict=True):
            assert other.packed.ids_BT.is_meta
            for name in ("ids_BT", "where_A", "wanted_A", "positions_BT"):
                here, there = getattr(one.packed, name), getattr(other.packed, name)
                assert (here is None) == (there is None)
                assert here is None or (here.shape, here.dtype) == (there.shape, there.dtype)
            assert other.weight_L.dtype == torch.float64
