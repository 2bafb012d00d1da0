"""Lanes into passes of bounded size."""

from __future__ import annotations

from orchestrator.passes import pass_tokens, split_into_passes


def test_lanes_share_passes_up_to_the_bound_and_keep_their_order() -> None:
    assert split_into_passes({0: 4, 1: 4, 3: 4, 4: 4, 7: 4}, 8) == [[0, 1], [3, 4], [7]]
    assert split_into_passes({0: 4, 1: 4, 2: 4}, 100) == [[0, 1, 2]]


def test_a_lane_larger_than_the_bound_goes_alone() -> None:
    assert split_into_passes({0: 9, 1: 1, 2: 20, 3: 1}, 8) == [[0], [1], [2], [3]]


def test_no_lane_makes_no_pass() -> None:
    assert split_into_passes({}, 8) == []


def test_the_bound_is_the_recipes_or_the_devices() -> None:
    assert pass_tokens(77, "cpu", hidden=512) == 77
    assert pass_tokens("auto", "cpu", hidden=512) == 512
    assert pass_tokens("auto", "cpu", hidden=64) == 4096
    assert pass_tokens("auto", "cuda", hidden=4096) == 32_768
