"""The hub without Ray: trainers are threads here, and the event loop is the actor's."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import count
from typing import Any, Literal

import pytest

from orchestrator.cluster.hub.assignments import End, Sort
from orchestrator.cluster.hub.breaker import LIKE, NOT_TRIED
from orchestrator.cluster.hub.hub import STOPPED, Hub
from orchestrator.cluster.hub.messages import Beat, Line, PackEnd, Place
from orchestrator.cluster.hub.room import RoomRequest
from orchestrator.cluster.hub.slots import STARTS, Fit
from orchestrator.control import RunEnd
from orchestrator.recipe.cluster_section import ClusterSpec

Train = Callable[[str, int], None]


class Stage:
    """A hub with trainers that call ``train`` with each pack's content and their rank."""

    def __init__(self, packs: list[str], train: Train, ranks: int = 1) -> None:
        self.train, self.ranks = train, ranks
        self.done: dict[str, list[tuple[str, int]]] = {}
        self.started: list[str] = []
        self.packs = packs
        self.fit: Fit = self.train_all

    def train_all(self, name: str, request: RoomRequest) -> End:
        """Be a trainer whose ranks are threads."""
        request.has_room = True
        self.started.append(name)
        threads = ThreadPoolExecutor(self.ranks)
        ranks = [threads.submit(self._rank, name, rank) for rank in range(self.ranks)]
        ended, _ = wait(ranks, return_when=FIRST_EXCEPTION)  # as Train does: then the others are of no use
        threads.shutdown(wait=False)
        errors = {rank: str(one.exception()) for rank, one in enumerate(ranks) if one in ended and one.exception()}
        return End("\n".join(errors.values()), errors, "raised" if errors else "well")

    def run(self, slots: int) -> dict[str, str]:
        """Train one round on so many trainers at most; return the errors of all packs."""

        async def main() -> dict[str, str]:
            self.begin(slots)
            errors = await self.round(self.packs)
            await self.end()
            return errors

        return asyncio.run(asyncio.wait_for(main(), 30))

    def begin(self, slots: int | Literal["auto"], **values: Any) -> None:
        """Start the hub in the event loop that runs."""
        self.loop = asyncio.get_running_loop()
        spec = ClusterSpec(workers=self.ranks, max_concurrent=slots, **values)
        self.hub = Hub(spec, self.fit, lambda: "little")
        self.running = asyncio.create_task(self.hub.run())

    async def round(self, packs: list[str]) -> dict[str, str]:
        """Add packs and wait for their ends; return their errors."""
        await self.hub.add({pack: pack.encode() for pack in packs}, {})
        return dict(zip(packs, await asyncio.gather(*map(self.hub.wait, packs)), strict=True))

    async def end(self) -> None:
        await self.hub.close()
        await self.running

    def lines(self) -> list[str]:
        return [event.text for event in self.hub.events if isinstance(event, Line)]

    def _rank(self, name: str, rank: int) -> None:
        while (pack := self.call(self.hub.take(name, rank))) is not None:
            self.done.setdefault(pack.decode(), []).append((name, rank))
            try:
                self.train(pack.decode(), rank)
            except Exception:
                self.call(self.hub.report(name, rank, traceback.format_exc()))
                raise

    def call(self, what: Any) -> Any:
        return self.submit(what).result()

    def submit(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self.loop)


def names(count: int) -> list[str]:
    return [f"p{index:02d}" for index in range(count)]


def test_two_trainers_of_two_ranks_train_every_pack_once() -> None:
    stage = Stage(names(20), lambda pack, rank: None, ranks=2)
    assert set(stage.run(slots=2).values()) == {""}
    assert sorted(stage.started) == ["slot0-0", "slot1-0"]
    for who in stage.done.values():
        assert sorted(rank for _, rank in who) == [0, 1]
        assert len({name for name, _ in who}) == 1


def test_a_pack_that_raises_fails_alone_and_a_fresh_trainer_goes_on() -> None:
    def train(pack: str, rank: int) -> None:
        if pack in ("p01", "p02") and rank == 1:
            raise ValueError(f"{pack} is bad")

    stage = Stage(names(5), train, ranks=2)
    errors = stage.run(slots=1)
    assert [pack for pack, error in errors.items() if error] == ["p01", "p02"]
    assert errors["p01"].startswith("Traceback")
    assert errors["p01"].strip().endswith("ValueError: p01 is bad")
    assert stage.started == ["slot0-0", "slot0-1", "slot0-2"]
    assert {pack: who[0][0] for pack, who in stage.done.items()} == {
        "p00": "slot0-0",
        "p01": "slot0-0",
        "p02": "slot0-1",
        "p03": "slot0-2",
        "p04": "slot0-2",
    }


def test_no_trainer_is_started_again_after_the_last_pack_failed() -> None:
    def train(pack: str, rank: int) -> None:
        raise ValueError(pack)

    stage = Stage(names(2), train)
    assert all(stage.run(slots=1).values())
    assert len(stage.started) == 2


def test_trainers_that_never_start_fail_the_packs_with_what_they_said() -> None:
    stage = Stage(names(3), lambda pack, rank: None)
    started: list[str] = []

    def fit(name: str, request: RoomRequest) -> End:
        started.append(name)
        return End("CUDA is gone")

    stage.fit = fit
    errors = stage.run(slots=2)
    assert set(errors.values()) == {f"No trainer could be started, {STARTS} times in a row: CUDA is gone"}
    assert len(started) == 2 * STARTS


def test_nodes_that_go_while_trainers_start_give_no_slot_up() -> None:
    stage = Stage(names(3), lambda pack, rank: None)
    whole, started = stage.fit, list[str]()
    gone = End("The actor died because its node has died.", {}, "lost", node_gone=True)

    def fit(name: str, request: RoomRequest) -> End:
        started.append(name)
        return gone if len(started) <= 2 * STARTS else whole(name, request)

    stage.fit = fit
    assert set(stage.run(slots=1).values()) == {""}
    assert len(started) == 2 * STARTS + 1


def test_a_slot_that_cannot_start_leaves_its_packs_to_the_others() -> None:
    stage = Stage(names(6), lambda pack, rank: None)
    whole = stage.fit
    stage.fit = lambda name, request: End("no such node") if name.startswith("slot0") else whole(name, request)
    assert set(stage.run(slots=2).values()) == {""}


def losing(stage: Stage, times: int, steps: Callable[[int], int] = lambda time: 0) -> Fit:
    """Return a ``fit`` whose first ``times`` trainers take a pack, make steps, and lose their node."""
    whole, lost = stage.fit, []

    def fit(name: str, request: RoomRequest) -> End:
        if len(lost) == times:
            return whole(name, request)
        lost.append(name)
        place = Place("node", "host", 7, None)
        stage.call(stage.hub.hello(name, 0, place))
        assert stage.call(stage.hub.take(name, 0)) == b"p00"
        if made := steps(len(lost)):
            stage.call(stage.hub.beat(name, 0, Beat({"key": made})))
        return End("its node went away", {0: "its node went away"}, "lost")

    return fit


def test_a_lost_pack_is_put_back_at_once_at_the_front_and_spends_no_try() -> None:
    stage = Stage(names(3), lambda pack, rank: None)
    stage.fit = losing(stage, 2)
    assert set(stage.run(slots=1).values()) == {""}
    assert {pack: len(who) for pack, who in stage.done.items()} == {"p00": 1, "p01": 1, "p02": 1}
    assert next(iter(stage.done)) == "p00"
    assert stage.lines() == ["p00 is put back (lost): its node went away"] * 2


def test_a_pack_that_is_lost_three_times_without_a_new_step_fails_with_the_reason() -> None:
    stage = Stage(names(2), lambda pack, rank: None)
    stage.fit = losing(stage, 3, lambda time: 5)  # the first five steps count once
    errors = stage.run(slots=1)
    assert errors == {"p00": "its node went away\n(lost 3 times without a new step in between)", "p01": ""}


def test_a_pack_that_makes_steps_between_its_losses_is_put_back_every_time() -> None:
    stage = Stage(names(1), lambda pack, rank: None)
    stage.fit = losing(stage, 9, lambda time: time)
    assert stage.run(slots=1) == {"p00": ""}


def test_sixty_packs_that_fail_alike_start_three_trainers_and_the_reason_is_said_once() -> None:
    def train(pack: str, rank: int) -> None:
        raise FileNotFoundError("/data is not there")

    stage = Stage(names(60), train)
    errors = stage.run(slots=1)
    assert len(stage.started) == 3
    assert sum(error.startswith(NOT_TRIED) for error in errors.values()) == 57
    assert errors["p59"].endswith("failed alike before their first step: FileNotFoundError: /data is not there")
    assert len(stage.lines()) == 2
    assert stage.lines()[0] == "p00 failed: FileNotFoundError: /data is not there"


def crashing(stage: Stage, end: End, working: Callable[[int], bool] = lambda time: False) -> Fit:
    """Return a ``fit`` whose trainers take a pack and crash; ``working`` says which of them make a new step before."""
    times = count(1)

    def fit(name: str, request: RoomRequest) -> End:
        stage.started.append(name)
        stage.call(stage.hub.hello(name, 0, Place("node", "host", 7, None)))
        pack = stage.call(stage.hub.take(name, 0))
        time = next(times)
        if pack is not None and working(time):
            stage.call(stage.hub.beat(name, 0, Beat({pack.decode(): time})))
        return end

    return fit


CRASH = End("SIGSEGV", {0: "SIGSEGV"}, "lost")


def test_sixty_packs_that_crash_their_trainers_start_seven_trainers_and_the_reason_is_said() -> None:
    stage = Stage(names(60), lambda pack, rank: None)
    stage.fit = crashing(stage, CRASH)
    errors = stage.run(slots=1)
    assert len(stage.started) == 7
    assert sum(error.startswith(NOT_TRIED) for error in errors.values()) == 58
    assert stage.lines()[-1].startswith(f"the packs that are left are {NOT_TRIED} 7 trainers in a row")


def test_nodes_that_go_do_not_end_the_trying() -> None:
    stage = Stage(names(8), lambda pack, rank: None)
    stage.fit = crashing(stage, replace(CRASH, node_gone=True))
    assert not [error for error in stage.run(slots=3).values() if error.startswith(NOT_TRIED)]
    assert len(stage.started) >= 8 * 3


def test_crashes_after_new_steps_do_not_end_the_trying() -> None:
    stage = Stage(names(8), lambda pack, rank: None)
    stage.fit = crashing(stage, CRASH, lambda time: time < 30)
    stage.run(slots=7)
    assert len(stage.started) > 30


def test_steps_of_another_trainer_do_not_hide_that_all_else_fails_alike() -> None:
    over = threading.Event()

    def train(pack: str, rank: int) -> None:
        if pack != "p00":
            stage.call(stage.hub.beat("slot0-0", 0, Beat({"p00": next(steps)})))  # the long pack works on
            raise FileNotFoundError("/data is not there")
        stage.call(stage.hub.hello("slot0-0", 0, Place("node", "host", 7, None)))
        ready.set()
        over.wait(20)

    stage, ready, steps = Stage(names(60), train), threading.Event(), count(1)
    whole = stage.fit

    def fit(name: str, request: RoomRequest) -> End:
        if name.startswith("slot1"):
            ready.wait(20)
            if name == "slot1-3" or not stage.hub.assignments.open:
                over.set()
        return whole(name, request)

    stage.fit = fit
    threading.Timer(5, over.set).start()
    errors = stage.run(slots=2)
    assert errors["p00"] == ""
    assert len(stage.started) == 4
    assert sum(error.startswith(NOT_TRIED) for error in errors.values()) == 56


def test_a_trainer_that_cannot_be_run_at_all_leaves_the_others_at_work() -> None:
    stage = Stage(names(4), lambda pack, rank: None)
    whole = stage.fit

    def fit(name: str, request: RoomRequest) -> End:
        if name.startswith("slot0"):
            raise ValueError("Ray refuses the options")
        return whole(name, request)

    stage.fit = fit
    assert set(stage.run(slots=2).values()) == {""}
    stage = Stage(names(2), lambda pack, rank: None)

    def never(name: str, request: RoomRequest) -> End:
        raise ValueError("Ray refuses the options")

    stage.fit = never
    (error,) = set(stage.run(slots=1).values())
    assert error.endswith("the trainer could not be run: ValueError: Ray refuses the options")


def test_a_stop_ends_trainers_between_packs_and_fails_what_waits() -> None:
    def train(pack: str, rank: int) -> None:
        stage.call(stage.hub.stop())

    stage = Stage(names(4), train)
    assert stage.run(slots=1) == {"p00": "", "p01": STOPPED, "p02": STOPPED, "p03": STOPPED}


def test_a_rank_that_was_told_to_end_stops_its_whole_trainer_and_its_pack_goes_on_elsewhere() -> None:
    stage = Stage(names(2), lambda pack, rank: None, ranks=2)
    whole, answers = stage.fit, list[bool]()

    def fit(name: str, request: RoomRequest) -> End:
        if name != "slot0-0":
            return whole(name, request)
        for rank in range(2):
            stage.call(stage.hub.hello(name, rank, Place("node", "host", rank, None)))
        for turn in [stage.submit(stage.hub.take(name, rank)) for rank in range(2)]:
            assert turn.result() == b"p00"
        answers.append(stage.call(stage.hub.beat(name, 0, Beat())).stop)
        answers.append(stage.call(stage.hub.beat(name, 1, Beat(told=True))).stop)
        answers.append(stage.call(stage.hub.beat(name, 0, Beat())).stop)
        sort: Sort = "stopped"
        for rank in range(2):
            stage.call(stage.hub.report(name, rank, "StoppedError", sort))
        return End("StoppedError", {0: "StoppedError", 1: "StoppedError"}, "raised")

    stage.fit = fit
    assert stage.run(slots=1) == {"p00": "", "p01": ""}
    assert answers == [False, True, True]
    assert stage.lines()[0] == "slot0-0 was told to end (rank 1 on host, process 1): its runs are saved"


def test_the_driver_hears_steps_ends_and_packs_once_and_in_order() -> None:
    end = RunEnd("key", "committed", 2, "seal")

    def train(pack: str, rank: int) -> None:
        stage.call(stage.hub.hello("slot0-0", 0, Place("node", "host", 7, None)))
        stage.call(stage.hub.beat("slot0-0", 0, Beat({pack: 4})))
        stage.call(stage.hub.note_ends([end]))

    stage = Stage(["p00"], train)
    stage.run(slots=1)
    first = asyncio.run(asyncio.wait_for(_news(stage, 0), 5))
    again = asyncio.run(asyncio.wait_for(_news(stage, len(first.events)), 5))
    assert (first.steps, first.events, first.begun, first.finished) == (
        {"p00": 4},
        (end, PackEnd("p00", "")),
        True,
        True,
    )
    assert (again.steps, again.events) == ({}, ())


def test_the_driver_hears_how_many_trainers_have_room() -> None:
    stage = Stage(["p00"], lambda pack, rank: None)
    stage.run(slots=1)
    assert asyncio.run(asyncio.wait_for(_news(stage, 0), 5)).trainers == 0  # its only one has left
    stage.hub.slots.requests |= {"a": RoomRequest(has_room=True), "b": RoomRequest(), "c": RoomRequest(has_room=True)}
    assert asyncio.run(asyncio.wait_for(_news(stage, 0), 5)).trainers == 2


def test_a_rank_whose_trainer_has_left_is_told_to_stop_and_not_listened_to() -> None:
    """It may have lost its node to Ray and work on, while its pack is in other hands."""
    stage = Stage(names(1), lambda pack, rank: None)
    stage.run(slots=1)
    assert asyncio.run(stage.hub.beat("slot0-0", 0, Beat({"p00": 9}))).stop
    assert asyncio.run(asyncio.wait_for(_news(stage, 0), 5)).steps == {}


def test_a_rank_that_says_hello_after_its_trainer_has_left_is_no_trainer_of_the_hub() -> None:
    """The watch would kill it, and say so, again and again until the end of the sweep."""
    stage = Stage(names(1), lambda pack, rank: None)
    stage.run(slots=1)
    heard: list[str] = []
    stage.hub.on_beat = lambda name, rank, beat: heard.append(name)
    asyncio.run(stage.hub.hello("slot0-0", 1, Place("node", "host", 7, None)))
    assert stage.hub.places == {}
    assert heard == []


def test_a_hub_forgets_what_the_driver_has_heard() -> None:
    stage = Stage(names(40), lambda pack, rank: None)
    stage.run(slots=1)
    first = asyncio.run(asyncio.wait_for(_news(stage, 0), 5))
    assert len(first.events) == 40
    stage.hub.say("later")
    second = asyncio.run(asyncio.wait_for(_news(stage, 40), 5))
    again = asyncio.run(asyncio.wait_for(_news(stage, 40), 5))  # the answer may be lost
    assert second.events == again.events == (Line("later"),)
    assert len(stage.hub.events) == 1


class Nodes(Stage):
    """A hub with two trainers: the first is on a node that fails each pack at once, until it may go elsewhere.

    The second works on its first pack until the hub has given the bad node up, or ``over``.
    """

    def __init__(self, packs: list[str], end: End) -> None:
        super().__init__(packs, lambda pack, rank: None)
        self.bad, self.bad_end, self.works, self.over = 0, end, threading.Event(), threading.Event()
        self.fit = self.on_a_node

    def on_a_node(self, name: str, request: RoomRequest) -> End:
        request.has_room = True
        if name.startswith("slot0") and "bad" not in request.avoid:
            assert self.works.wait(20)
            self.call(self.hub.hello(name, 0, Place("bad", "bad-host", 7, None)))
            if self.call(self.hub.take(name, 0)) is None:
                return End()
            self.bad += 1
            return self.bad_end
        self.call(self.hub.hello(name, 0, Place("good", "good-host", 8, None)))
        while self.call(self.hub.take(name, 0)) is not None:
            self.works.set()
            while not (self.hub.bad_nodes.hosts or self.over.wait(0.01)):
                pass
        return End()


RAISES = End("RuntimeError: uncorrectable ECC", {0: "RuntimeError: uncorrectable ECC"}, "raised")


@pytest.mark.parametrize("end", [RAISES, CRASH])
def test_a_node_that_fails_pack_after_pack_while_another_works_is_used_no_more(end: End) -> None:
    stage = Nodes(names(20), end)
    threading.Timer(5, stage.over.set).start()
    errors = stage.run(slots=2)
    assert stage.bad == LIKE
    assert not [error for error in errors.values() if error.startswith(NOT_TRIED)]
    assert len([error for error in errors.values() if error]) == (LIKE if end is RAISES else 1)  # a loss is put back
    (line,) = [line for line in stage.lines() if "starts no trainer" in line]
    assert line.startswith(f"{LIKE} packs in a row failed on bad-host before a step, while other nodes are at work")
    assert stage.hub._cluster_now() == "little; not used, because packs failed there: bad-host"


async def _news(stage: Stage, cursor: int) -> Any:
    stage.hub.changed = asyncio.Condition()  # of this loop
    return await stage.hub.news(cursor, 0.01)
