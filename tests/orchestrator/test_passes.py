"""Lanes into passes of bounded size."""

from __future__ import annotations

from orchestrator.passes import pass_tokens, split_into_passes


def test_lanes_share_passes_up_to_the_bound_and_keep_their_order() -> None:
    assert split_into_passes({0: 4, 1: 4, 3: 4, 4: 4, 7: 4}, 8) == [[0, 1], [3], [4, 7]]
    assert split_into_passes({0: 4, 1: 4, 2: 4}, 100) == [[0, 1, 2]]


def test_passes_are_as_few_as_hold_all_and_about_equal() -> None:
    sizes = [40, 33, 60, 21, 47, 52, 38, 44, 29, 57]
    passes = split_into_passes(dict(enumerate(sizes)), 170)
    held = [sum(sizes[lane] for lane in one) for one in passes]
    assert [lane for one in passes for lane in one] == list(range(len(sizes)))
    assert len(passes) == 3
    assert max(held) <= 170
    assert min(held) >= 120


def test_the_bound_is_kept_where_equal_shares_would_break_it() -> None:
    assert split_into_passes({0: 6, 1: 6, 2: 6, 3: 6}, 16) == [[0, 1], [2, 3]]
    assert split_into_passes({0: 1, 1: 9, 2: 9}, 10) == [[0, 1], [2]]
    assert split_into_passes({0: 6, 1: 6, 2: 6}, 10) == [[0], [1], [2]]


def test_a_lane_larger_than_the_bound_goes_alone() -> None:
    assert split_into_passes({0: 9, 1: 1, 2: 20, 3: 1}, 8) == [[0], [1], [2], [3]]


def test_no_lane_makes_no_pass() -> None:
    assert split_into_passes({}, 8) == []


def test_the_bound_is_the_recipes_or_the_devices() -> None:
    assert pass_tokens(77, "cpu", hidden=512) == 77
    assert pass_tokens("auto", "cpu", hidden=512) == 768
    assert pass_tokens("auto", "cpu", hidden=64) == 6144
    assert pass_tokens("auto", "cuda", hidden=4096) == 32_768
