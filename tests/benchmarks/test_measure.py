"""Samples to rows: pairing, intervals and targets, with numbers that can be checked by hand."""

from __future__ import annotations

import math

import pytest

from benchmarks.measuring.measure import ITSELF, Target, alone, compare, interleave, interval, paired_ratios


def test_arms_take_turns_and_none_always_comes_first() -> None:
    order: list[str] = []

    def arm(name: str) -> float:
        order.append(name)
        return float(len(order))

    said: list[str] = []
    samples = interleave({name: lambda name=name: arm(name) for name in "abc"}, 3, said.append)
    assert order == list("abc" + "bca" + "cab")
    assert samples == {"a": [1.0, 6.0, 8.0], "b": [2.0, 4.0, 9.0], "c": [3.0, 5.0, 7.0]}
    assert len(said) == 3
    assert "round 2 of 3" in said[1]


def test_ratios_are_paired_by_round_so_a_slow_round_cancels() -> None:
    rows = compare("b", "c", {"ref": [1.0, 10.0, 2.0], "arm": [2.0, 20.0, 4.0]}, reference="ref", unit="s")
    arm = rows[1]
    assert (arm.ratio, arm.ratio_low, arm.ratio_high) == (2.0, 2.0, 2.0)
    assert (arm.median, arm.low, arm.high) == (4.0, 2.0, 20.0)
    assert (rows[0].ratio, rows[0].reference, arm.reference) == (1.0, "ref", "ref")


def test_the_median_of_ratios_is_not_the_ratio_of_medians() -> None:
    (_, arm) = compare("b", "c", {"ref": [1.0, 2.0, 4.0], "arm": [3.0, 2.0, 2.0]}, reference="ref", unit="s")
    assert arm.median == 2.0
    assert arm.ratio == 1.0


def test_rounds_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="paired by round: 2 values against 1"):
        paired_ratios([1.0, 2.0], [1.0])


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0], [1.0, math.nan, 2.0]])
def test_too_few_values_have_no_interval(values: list[float]) -> None:
    assert all(map(math.isnan, interval(values)))


def test_an_interval_is_the_same_every_time_and_holds_the_median() -> None:
    values = [5.0, 7.0, 6.0, 9.0, 6.5, 8.0, 5.5]
    low, high = interval(values)
    assert interval(values) == (low, high)
    assert 5.0 <= low <= 6.5 <= high <= 9.0
    assert low < high


def test_every_target_gets_a_row_against_its_own_arm() -> None:
    samples = {"peft": [2.0, 2.0, 2.0], "dense": [4.0, 4.0, 4.0], "ours": [2.2, 2.2, 2.2]}
    targets = {"ours": [Target(1.05, "at most", "peft"), Target(0.7, "at most", "dense")]}
    rows = [row for row in compare("b", "c", samples, reference="peft", unit="s", targets=targets) if row.arm == "ours"]
    assert [(row.reference, row.met) for row in rows] == [("peft", False), ("dense", True)]
    assert [row.ratio for row in rows] == pytest.approx([1.1, 0.55])
    assert rows[1].target == "at most 0.7 of dense"


def test_a_target_against_another_arm_keeps_the_row_against_the_reference() -> None:
    targets = {"b": Target(2, "at least", "c")}
    rows = compare("x", "y", {"a": [1.0], "b": [3.0], "c": [1.0]}, reference="a", unit="n", targets=targets)
    mine = [(row.reference, row.target, row.met) for row in rows if row.arm == "b"]
    assert mine == [("a", None, None), ("c", "at least 2 of c", True)]


def test_a_limit_of_the_value_itself_has_no_ratio() -> None:
    row = alone("f", "plan", "time", [11.0, 9.0, 12.0], unit="s", target=Target(10, "at most", ITSELF))
    assert (row.median, row.target, row.met, row.rounds) == (11.0, "at most 10 s", False, 3)
    assert math.isnan(row.ratio)
    assert alone("f", "plan", "time", [11.0], unit="s").met is None


def test_what_could_not_be_measured_meets_no_target() -> None:
    assert not Target(1, "at most", "a").met(math.nan)
    assert not Target(1, "at least", "a").met(math.nan)
