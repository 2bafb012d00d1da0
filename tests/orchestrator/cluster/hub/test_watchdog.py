"""The watchdog: which trainers hang, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.cluster.hub.watchdog import MOVING, SILENT, STARTING, TIMES, Hang, Watchdog

FLOOR = 60.0


def trainer(
    seconds: float, step: float, stopped_at: float = float("inf"), still: Callable[[float], float] = lambda now: 0.0
) -> tuple[Watchdog, Hang | None, float]:
    """Let two ranks beat every second, with a step of all runs every ``step`` seconds.

    Rank 1 sends nothing from ``stopped_at`` on, and then nobody makes a step. Return the watchdog, its first verdict
    within ``seconds``, and when it came.
    """
    dog, now, done = Watchdog(FLOOR), 0.0, 0
    for rank in range(2):
        dog.heard("t", rank, now)
    dog.took("t", now)
    while now < seconds:
        now += 1.0
        dog.heard("t", 0, now, still(now))
        if now < stopped_at:
            dog.heard("t", 1, now, still(now))
            if now % step == 0:
                done += 1
                dog.stepped("t", {"a": done, "b": done}, now)
        if hang := dog.hang_of("t", now, "working"):
            return dog, hang, now
    return dog, None, now


def test_a_trainer_that_makes_steps_is_left_alone() -> None:
    assert trainer(3600, step=1)[1] is None


def test_a_stopped_rank_is_named_within_a_minute_at_steps_of_a_second() -> None:
    _, hang, now = trainer(300, step=1, stopped_at=100)
    assert hang is not None
    assert (hang.rank, hang.answers) == (1, False)
    assert now - 100 <= SILENT + 1
    assert hang.why == "has not answered for 31 s"


def test_before_the_first_step_a_silent_rank_has_the_whole_floor() -> None:
    """A base that is loaded from a slow disk may keep all threads of a process waiting."""
    _, hang, now = trainer(300, step=1, stopped_at=1)
    assert hang is not None
    assert FLOOR < now <= FLOOR + 2


def test_a_rank_that_answers_and_stands_still_is_ended_after_the_floor() -> None:
    """As a rank that waits for a collective, for CUDA or for a file."""
    _, hang, now = trainer(300, step=1000, still=lambda now: now)
    assert hang is not None
    assert FLOOR < now <= FLOOR + 1
    assert hang.answers
    assert hang.why == "has made no optimizer step for 61 s (the limit is 60 s)"


def test_a_rank_that_moves_without_steps_has_ten_times_as_long() -> None:
    """As one that loads, scores a large test set, or merges; one in a circle is found in the end."""
    _, hang, now = trainer(2000, step=5000)
    assert hang is not None
    assert MOVING * FLOOR < now <= MOVING * FLOOR + 1


def test_slow_steps_lengthen_the_limit() -> None:
    slow = 10.0

    dog, hang, now = trainer(1000, step=slow, stopped_at=float("inf"), still=lambda now: 0.0)
    assert hang is None
    last = now
    while now < last + 2 * TIMES * slow and hang is None:
        now += 1
        for rank in range(2):
            dog.heard("t", rank, now, now - last)
        hang = dog.hang_of("t", now, "working")
    assert now - last == TIMES * slow + 1


def test_a_trainer_that_gets_no_further_pack_makes_no_steps_and_is_not_blamed_for_it() -> None:
    dog = Watchdog(FLOOR)
    for now in range(1000):
        dog.heard("t", 0, now, now)
        assert dog.hang_of("t", now, "done") is None


def test_a_trainer_that_beats_and_never_takes_a_pack_is_found_and_the_rank_named_that_does_not_ask() -> None:
    """As one whose rank 1 hangs while it imports: rank 0 waits for it, and moves no more than it."""
    dog, now, hang = Watchdog(FLOOR), 0.0, None
    while hang is None and now < 10_000:
        now += 1
        for rank in (0, 1):
            dog.heard("t", rank, now)
        hang = dog.hang_of("t", now, "starting", {0})
    assert now == 1 + STARTING * FLOOR + 1
    assert hang == Hang(1, f"has taken no pack for {now - 1:.0f} s (the limit is {STARTING * FLOOR:.0f} s)", True)


def test_a_rank_that_waits_for_the_others_between_packs_is_not_the_rank_at_fault() -> None:
    dog = Watchdog(FLOOR)
    for rank in (0, 1):
        dog.heard("t", rank, 0.0)
    dog.took("t", 0.0)
    dog.heard("t", 0, 100.0, 99.0)  # has asked, and waits longer than rank 1 hangs
    dog.heard("t", 1, 100.0, 61.0)
    hang = dog.hang_of("t", 100.0, "working", {0})
    assert hang is not None
    assert hang.rank == 1


def test_a_new_pack_has_its_time_from_its_beginning() -> None:
    dog = Watchdog(FLOOR)
    dog.heard("t", 0, 0.0)
    dog.took("t", 1000.0)
    dog.heard("t", 0, 1030.0, 1030.0)
    assert dog.hang_of("t", 1030.0, "working") is None


def test_a_hub_that_was_not_running_itself_blames_nobody_for_that_time() -> None:
    dog, hang, now = trainer(100, step=1)
    assert hang is None
    dog.forgive(500)
    assert dog.hang_of("t", now + 501, "working") is None


def test_a_trainer_that_has_ended_or_never_came_does_not_hang() -> None:
    dog, _, now = trainer(10, step=1)
    dog.gone("t")
    assert dog.hang_of("t", now + 1000, "working") is None
