"""Whose results of the sweep still stand: kept under equal bytes, trained again under others, back after a revert."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.verdict.frontier import Frontier, Trained, decide, ruler_of, signature_of
from orchestrator.verdict.night import Night, Status
from tests.helpers.night_tables import WORLD, day, night

METHODS = ["d2lora", "lora", "dora"]  # dora has no canary


def _moved(name: str, word: str, *methods: str) -> Night:
    """A night on which only these methods' bytes are those of ``word``; the others' are those of "a"."""
    one, other = night(name), night(name, word)
    runs = [b if b.method in methods and not b.fresh else a for a, b in zip(one.runs, other.runs, strict=True)]
    return replace(one, runs=tuple(runs))


def _first() -> Frontier:
    return decide({}, night(day(1)), "within_noise", METHODS)


def test_the_first_night_adopts_the_sweep_as_it_is() -> None:
    first = _first()
    assert (first.renewed, first.reached, first.kept, first.trains) == ({}, (), tuple(METHODS), True)
    assert first.state["lora"] == (Trained(None, signature_of(night(day(1)), "lora"), ruler_of(night(day(1)))),)
    doubtful = decide({}, night(day(1)), "within_noise", METHODS, verified=False)
    assert not doubtful.state["lora"][0].verified
    assert "no canary has compared with" in doubtful.why


def test_equal_bytes_under_new_code_keep_all_results() -> None:
    tonight = night(day(2), world=replace(WORLD, code="code2"))
    second = decide(_first().state, tonight, "same_bytes", METHODS)
    assert (second.renewed, second.reached, second.trains) == ({}, (), True)
    assert "they stand, whatever changed in the code" in second.why


def test_a_method_whose_bytes_moved_is_trained_again_and_so_is_a_method_without_a_canary() -> None:
    second = decide(_first().state, _moved(day(2), "b", "lora"), "within_noise", METHODS)
    assert (second.reached, second.kept) == (("lora", "dora"), ("d2lora",))
    assert second.renewed == {"lora": day(2), "dora": day(2)}
    assert "lora and dora trained again" in second.why


def test_the_same_night_decided_again_after_a_kill_decides_the_same() -> None:
    tonight = _moved(day(2), "b", "lora")
    second = decide(_first().state, tonight, "within_noise", METHODS)
    again = decide(second.state, tonight, "within_noise", METHODS)
    assert (again.renewed, again.reached, again.state) == (second.renewed, (), second.state)


def test_a_change_that_is_taken_back_goes_back_to_the_runs_of_before_and_trains_nothing() -> None:
    second = decide(_first().state, night(day(2), "b"), "within_noise", METHODS)
    third = decide(second.state, night(day(3), "a"), "within_noise", METHODS)
    assert (third.renewed, third.reached, third.back) == ({}, (), tuple(METHODS))
    fourth = decide(third.state, night(day(4), "b"), "within_noise", METHODS)
    assert (fourth.back, fourth.renewed) == (tuple(METHODS), dict.fromkeys(METHODS, day(2)))


@pytest.mark.parametrize("status", ["worse", "ruler_moved", "incomplete"])
def test_a_night_that_is_worse_incomplete_or_of_another_ruler_renews_and_trains_nothing(status: Status) -> None:
    second = decide(_first().state, night(day(2), "b"), "within_noise", METHODS)
    third = decide(second.state, night(day(3), "c"), status, METHODS)
    assert (third.renewed, third.reached, third.trains) == (second.renewed, (), False)
    assert third.state == second.state
    assert third.why


def test_an_unfinished_confirmation_renews_nothing() -> None:
    second = decide(_first().state, night(day(2), "b"), "within_noise", METHODS, unfinished_confirmation=True)
    assert (second.renewed, second.trains) == ({}, False)


def test_after_a_moved_ruler_nothing_is_trained_until_somebody_trains_the_sweep_under_it() -> None:
    other = replace(WORLD, base="base2")
    state = _first().state
    waits = decide(state, night(day(3), "b", world=other), "same_bytes", METHODS)
    assert (waits.trains, waits.renewed, waits.state) == (False, {}, state)
    assert "python jobs/sweep.py RECIPE" in waits.why
    adopted = decide(state, night(day(3), "b", world=other), "same_bytes", METHODS, missing=False)
    assert (adopted.trains, adopted.reached, adopted.renewed) == (True, (), {})
    assert decide(adopted.state, night(day(4), "b", world=other), "same_bytes", METHODS).trains
    back = decide(adopted.state, night(day(5), "a"), "same_bytes", METHODS)
    assert (back.trains, back.back) == (True, tuple(METHODS))


def test_a_recipe_may_train_the_sweep_under_a_moved_ruler() -> None:
    tonight = night(day(2), "b", world=replace(WORLD, base="base2"))
    second = decide(_first().state, tonight, "ruler_moved", METHODS, retrain_when_ruler_moves=True)
    assert (second.trains, second.reached, second.renewed) == (True, (), {})  # the base is in the runs' keys


def test_another_canary_says_nothing_against_results() -> None:
    tonight = night(day(2), cells=[("piqa", "d2lora"), ("piqa", "lora")])
    second = decide(_first().state, tonight, "within_noise", METHODS)
    assert (second.reached, second.renewed) == ((), {})
    assert not second.state["lora"][-1].verified


def test_a_method_that_came_later_is_adopted_and_a_method_that_is_gone_is_forgotten() -> None:
    second = decide(_first().state, night(day(2)), "same_bytes", ["lora", "new"])
    assert second.kept == ("lora", "new")
    assert second.state.keys() == {"lora", "new"}
