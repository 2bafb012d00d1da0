"""Groups of methods that no corrected comparison separates."""

from __future__ import annotations

from orchestrator.summary.comparisons import corrected, difference
from orchestrator.summary.schema import TieGroup
from orchestrator.summary.tie_groups import tie_groups

LEVELS = [0.720, 0.731, 0.709, 0.725, 0.718]


def groups(**lifts: float | None) -> list[TieGroup]:
    """Group methods that lie above the reference by a lift, with a little noise of their own; None: one seed alone."""
    methods = {"ours": dict(enumerate(LEVELS))}
    for place, (name, lift) in enumerate(lifts.items()):
        noise = [0.002 * ((seed * (place % 3 + 2)) % 5 - 2) for seed in range(5)]
        values = [level + (lift or 0.0) + jitter for level, jitter in zip(LEVELS, noise, strict=True)]
        methods[name] = dict(enumerate(values if lift is not None else values[:1]))
    pairs = corrected([difference(("ours", name), methods["ours"], methods[name]) for name in lifts])
    return tie_groups("ours", {name: sum(by_seed.values()) / len(by_seed) for name, by_seed in methods.items()}, pairs)


def test_groups_are_ahead_of_with_and_behind_the_reference_with_the_best_as_leader() -> None:
    assert groups(far=-0.1, near=0.001, above=0.1, higher=0.12) == [
        {"leader": "higher", "methods": ["higher", "above"], "standing": "ahead"},
        {"leader": "near", "methods": ["near", "ours"], "standing": "tie"},
        {"leader": "far", "methods": ["far"], "standing": "behind"},
    ]


def test_methods_that_all_tie_are_one_group() -> None:
    assert groups(same=0.0, near=0.001) == [{"leader": "near", "methods": ["near", "ours", "same"], "standing": "tie"}]


def test_a_reference_that_all_others_beat_stands_alone() -> None:
    assert [group["methods"] for group in groups(a=0.1, b=0.2)] == [["b", "a"], ["ours"]]


def test_a_method_that_could_not_be_compared_is_in_no_group_and_one_seed_makes_none() -> None:
    assert [group["methods"] for group in groups(a=0.1, lone=None)] == [["a"], ["ours"]]
    assert groups(lone=None) == []
    assert tie_groups(None, {}, []) == []
