"""The assignments: every pack once, ranks in step, and what a lost trainer had in its hands."""

from __future__ import annotations

from orchestrator.cluster.assignments import Assignments, End


def assignments(*packs: str, ranks: int = 1, offered: bool = True) -> Assignments:
    made = Assignments(packs, ranks)
    for pack in packs if offered else ():
        made.offer(pack)
    return made


def next_of(one: Assignments, trainer: str, ranks: int = 1) -> str | None:
    turns = {one.ask(trainer, rank) for rank in range(ranks)}
    (turn,) = turns
    assert one.decided(trainer, turn)
    return one.pack_of_turn(trainer, turn)


def test_packs_go_out_in_their_order_whatever_the_order_in_which_they_came() -> None:
    one = assignments("long", "middle", "short", offered=False)
    for pack in ("short", "middle", "long"):
        one.offer(pack)
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


def test_a_trainer_waits_while_packs_are_still_to_be_offered() -> None:
    one = assignments("a", "b", offered=False)
    turn = one.ask("t", 0)
    assert not one.decided("t", turn)
    one.offer("b")
    assert one.pack_of_turn("t", turn) == "b"
    waiting, other = one.ask("t", 0), one.ask("u", 0)
    one.offer("a")
    assert one.pack_of_turn("t", waiting) == "a"
    assert one.pack_of_turn("u", other) is None  # nothing is left for it
    assert next_of(one, "t") is None


def test_a_lost_trainer_fails_the_pack_in_its_hands_and_no_other() -> None:
    one = assignments("a", "b", "c", ranks=2)
    assert next_of(one, "t", 2) == "a"
    assert next_of(one, "t", 2) == "b"
    one.report("t", 1, "ValueError: bad")
    assert one.leave("t", End("Train's summary", {1: "bad"}))
    assert (one.error("a"), one.error("b")) == ("", "ValueError: bad")
    assert not one.ended("c")
    assert one.pack_of_turn("t", one.ask("t", 0)) is None  # a rank that is still there gets no more
    assert next_of(one, "fresh", 2) == "c"


def test_the_likely_cause_of_a_failure_stands_last() -> None:
    one = assignments("a", "b", ranks=3)
    next_of(one, "t", 3)
    one.report("t", 2, "KeyError: the first")
    one.report("t", 0, "RuntimeError: lost its neighbour")
    one.leave("t", End("", {0: "x", 2: "x"}))
    assert one.error("a") == "RuntimeError: lost its neighbour\nKeyError: the first"
    next_of(one, "u", 3)
    one.report("u", 0, "RuntimeError: lost its neighbour")
    one.leave("u", End("", {0: "x", 1: "The worker died."}))
    assert one.error("b") == "RuntimeError: lost its neighbour\nThe worker died."


def test_a_trainer_that_left_between_packs_fails_none() -> None:
    one = assignments("a", "b", ranks=2)
    next_of(one, "t", 2)
    one.ask("t", 0)
    one.ask("t", 1)  # b is in its hands now
    one.leave("t", End("gone"))
    assert (one.error("a"), one.error("b")) == ("", "gone")
    assert not one.leave("never", End("could not start"))


def test_a_preempted_trainer_puts_its_pack_back_before_all_others() -> None:
    one = assignments("a", "b")
    assert next_of(one, "t") == "a"
    assert one.leave("t", End("node lost", preempted=True))
    assert [next_of(one, "u") for _ in range(3)] == ["a", "b", None]
    assert one.error("a") == ""


def test_closed_assignments_fail_what_waits_and_what_still_comes() -> None:
    one = assignments("a", "b", offered=False)
    one.offer("a")
    one.close("no room")
    one.offer("b")
    assert [one.error(pack) for pack in "ab"] == ["no room", "no room"]
    assert not one.open
    assert next_of(one, "t") is None
