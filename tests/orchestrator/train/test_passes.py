"""Lanes into passes of bounded size."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from orchestrator.train.passes import FIRST_TOKENS, pass_tokens, split_into_passes


def cuts(lanes: int, passes: int) -> Iterator[list[range]]:
    """Every way to cut so many lanes, in order, into so many passes."""
    for inner in itertools.combinations(range(1, lanes), passes - 1):
        yield [range(begin, end) for begin, end in itertools.pairwise((0, *inner, lanes))]


def test_passes_are_the_fewest_and_then_the_largest_is_smallest() -> None:
    draw = random.Random(0)
    for _ in range(300):
        sizes = [draw.randint(1, 8) for _ in range(draw.randint(1, 7))]
        passes = split_into_passes(dict(enumerate(sizes)), 8)
        assert [lane for lanes in passes for lane in lanes] == list(range(len(sizes)))
        largest = max(sum(sizes[lane] for lane in lanes) for lanes in passes)
        smallest = {  # by the number of passes: the largest pass of the best cut into so many
            number: min(max(sum(sizes[lane] for lane in lanes) for lanes in cut) for cut in cuts(len(sizes), number))
            for number in range(1, len(passes) + 1)
        }
        assert largest == smallest[len(passes)]
        assert all(smallest[number] > 8 for number in range(1, len(passes)))


def test_a_lane_larger_than_the_bound_goes_alone_and_the_others_stay_together() -> None:
    assert split_into_passes({0: 9, 1: 1, 2: 20, 3: 1}, 8) == [[0], [1], [2], [3]]
    assert split_into_passes({0: 16, 1: 16, 2: 2, 3: 2, 4: 2}, 8) == [[0], [1], [2, 3, 4]]
    assert split_into_passes({0: 4, 1: 4, 2: 4}, 100) == [[0, 1, 2]]


def test_no_lane_makes_no_pass() -> None:
    assert split_into_passes({}, 8) == []


def test_the_bound_is_the_recipes_or_the_devices() -> None:
    assert pass_tokens(77, "cpu", hidden=512) == 77
    assert pass_tokens("auto", "cpu", hidden=512) == 768
    assert pass_tokens("auto", "cpu", hidden=64) == 6144
    assert pass_tokens("auto", "cuda", hidden=4096) == FIRST_TOKENS
    assert pass_tokens("auto", "cuda", hidden=4096, bytes_per_token=1.0, free=2**60) == 32_768
