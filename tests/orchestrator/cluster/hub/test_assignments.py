"""The assignments: every pack once, ranks in step, and what a lost trainer had in its hands."""

from __future__ import annotations

import pytest

from orchestrator.cluster.hub.assignments import Assignments, End, Left, Sort
from orchestrator.cluster.hub.patience import STOPS


def assignments(*packs: str, ranks: int = 1) -> Assignments:
    return Assignments(packs, ranks)


def next_of(one: Assignments, trainer: str, ranks: int = 1) -> str | None:
    turns = {one.ask(trainer, rank) for rank in range(ranks)}
    (turn,) = turns
    assert one.decided(trainer, turn)
    return one.pack_of_turn(trainer, turn)


def test_packs_go_out_in_their_order() -> None:
    one = assignments("long", "middle", "short")
    assert [next_of(one, "t") for _ in range(4)] == ["long", "middle", "short", None]
    assert not one.open


def test_no_rank_gets_a_turn_before_all_have_asked_and_all_get_the_same() -> None:
    one = assignments("a", "b", ranks=3)
    turns = [one.ask("t", 2), one.ask("t", 0)]
    assert not one.decided("t", turns[0])
    turns.append(one.ask("t", 1))
    assert turns == [0, 0, 0]
    assert one.pack_of_turn("t", 0) == "a"
    one.ask("t", 0)
    assert not one.ended("a")  # two ranks are still in it
    one.ask("t", 1)
    one.ask("t", 2)
    assert one.ended("a")
    assert one.error("a") == ""
    assert one.pack_of_turn("t", 1) == "b"


def test_a_trainer_that_raised_fails_the_pack_in_its_hands_and_no_other() -> None:
    one = assignments("a", "b", "c", ranks=2)
    assert next_of(one, "t", 2) == "a"
    assert next_of(one, "t", 2) == "b"
    one.report("t", 1, "ValueError: bad")
    left = one.leave("t", End("Train's summary", {1: "bad"}, "raised"))
    assert (left.worked, left.pack, left.put_back) == (True, "b", False)
    assert (one.error("a"), one.error("b")) == ("", "ValueError: bad")
    assert not one.ended("c")
    assert one.pack_of_turn("t", one.ask("t", 0)) is None  # a rank that is still there gets no more
    assert next_of(one, "fresh", 2) == "c"


def test_a_trainer_that_finds_no_pack_waits_for_more_to_come() -> None:
    one = Assignments([], 2, more_to_come=True)
    turns = [one.ask("t", 0), one.ask("t", 1)]
    assert one.idle("t")
    assert not one.decided("t", turns[0])
    one.add(["a"])
    assert not one.idle("t")
    assert one.pack_of_turn("t", turns[1]) == "a"
    turns = [one.ask("t", 0), one.ask("t", 1)]
    assert one.all_ended
    assert one.newly_ended() == ["a"]
    assert one.newly_ended() == []
    one.stop("t")
    assert one.pack_of_turn("t", turns[0]) is None


def test_packs_that_are_added_after_a_close_are_given_out() -> None:
    one = Assignments(["a"], 1, more_to_come=True)
    one.close("not tried")
    one.add(["b"])
    assert (one.error("a"), one.waiting, one.all_ended) == ("not tried", 1, False)
    assert next_of(one, "t") == "b"
    one.expect_no_more()
    assert next_of(one, "t") is None


def test_the_likely_cause_of_a_failure_stands_last() -> None:
    one = assignments("a", "b", ranks=3)
    next_of(one, "t", 3)
    one.report("t", 2, "KeyError: the first")
    one.report("t", 0, "RuntimeError: lost its neighbour")
    one.leave("t", End("", {0: "x", 2: "x"}))
    assert one.error("a") == "RuntimeError: lost its neighbour\nKeyError: the first"
    next_of(one, "u", 3)
    one.report("u", 0, "RuntimeError: lost its neighbour")
    left = one.leave("u", End("", {0: "x", 1: "The worker died."}))
    assert left.reason == "RuntimeError: lost its neighbour\nThe worker died."


def test_a_trainer_that_left_between_packs_has_none_in_its_hands() -> None:
    one = assignments("a", "b", ranks=2)
    next_of(one, "t", 2)
    one.ask("t", 0)
    one.ask("t", 1)  # b is in its hands now
    assert one.leave("t", End("gone", sort="raised")).pack == "b"
    assert (one.error("a"), one.error("b")) == ("", "gone")
    assert one.leave("never", End("could not start", sort="lost")) == Left(False, "lost", "could not start")


def test_a_lost_trainer_puts_its_pack_back_before_all_others() -> None:
    one = assignments("a", "b")
    assert next_of(one, "t") == "a"
    assert one.leave("t", End("node lost", sort="lost")).put_back
    assert [next_of(one, "u") for _ in range(3)] == ["a", "b", None]
    assert one.error("a") == ""


@pytest.mark.parametrize(
    ("reports", "failures", "sort"),
    [
        ({}, {1: "died"}, "lost"),
        ({0: "lost"}, {0: "x"}, "lost"),  # its neighbour's node went away before Ray knew
        ({0: "lost"}, {0: "x", 1: "died"}, "lost"),
        ({0: "lost", 1: "raised"}, {0: "x", 1: "x"}, "raised"),
        ({1: "raised"}, {1: "x"}, "raised"),
        ({0: "stopped", 1: "stopped"}, {0: "x", 1: "x"}, "stopped"),
        ({0: "stopped", 1: "lost"}, {0: "x", 1: "x"}, "stopped"),  # rank 0 stopped first
        ({0: "stopped"}, {0: "x", 1: "died"}, "lost"),
    ],
)
def test_a_pack_fails_only_if_a_rank_raised_an_error_of_its_own(
    reports: dict[int, Sort], failures: dict[int, str], sort: Sort
) -> None:
    one = assignments("a", ranks=2)
    next_of(one, "t", 2)
    for rank, reported in reports.items():
        one.report("t", rank, reported, reported)
    left = one.leave("t", End("Train's summary", failures, "lost"))
    assert (left.sort, left.put_back) == (sort, sort != "raised")


def test_a_trainer_that_the_hub_has_ended_is_lost_whatever_its_ranks_say() -> None:
    one = assignments("a", ranks=2)
    next_of(one, "t", 2)
    one.report("t", 0, "RuntimeError: what the end of rank 1 did to rank 0", "raised")
    left = one.leave("t", End("Train's summary", {0: "x"}, "raised"), "rank 1 hung")
    assert (left.sort, left.put_back, left.reason) == ("lost", True, "rank 1 hung")


def test_a_pack_that_is_stopped_again_and_again_without_a_step_fails_in_the_end() -> None:
    one, times = assignments("a"), 0
    while not one.ended("a"):
        times += 1
        next_of(one, f"t{times}")
        one.report(f"t{times}", 0, "StoppedError", "stopped")
        one.leave(f"t{times}", End("", {0: "x"}, "raised"))
    assert times == STOPS


def test_a_trainer_that_was_told_to_stop_gets_no_further_pack() -> None:
    one = assignments("a", "b")
    assert next_of(one, "t") == "a"
    one.stop("t")
    assert one.stopping("t")
    assert next_of(one, "t") is None
    assert next_of(one, "u") == "b"


def test_a_close_fails_what_waits_and_lets_go_on_what_is_in_hands() -> None:
    one = assignments("a", "b", "c")
    assert next_of(one, "t") == "a"
    one.close("no room")
    assert [one.error(pack) for pack in "bc"] == ["no room", "no room"]
    assert not one.ended("a")
    assert next_of(one, "t") is None
    assert one.error("a") == ""


def test_a_pack_that_is_lost_after_the_close_fails_with_its_own_reason() -> None:
    one = assignments("a", "b")
    next_of(one, "t")
    one.close("no room")
    assert not one.leave("t", End("node lost", sort="lost")).put_back
    assert one.error("a") == "node lost"


def test_at_the_end_every_pack_has_ended() -> None:
    one = assignments("a", "b")
    next_of(one, "t")
    one.give_up("The hub has ended.")
    assert [one.error(pack) for pack in "ab"] == ["The hub has ended."] * 2


def test_losses_and_stops_are_counted_apart_in_the_words_too() -> None:
    one = assignments("a")
    for time in range(4):
        next_of(one, f"t{time}")
        if time == 0:
            one.report("t0", 0, "StoppedError", "stopped")
        one.leave(f"t{time}", End("gone", {} if time else {0: "x"}, "lost"))
    assert one.error("a").endswith("(lost 3 times without a new step in between)")
