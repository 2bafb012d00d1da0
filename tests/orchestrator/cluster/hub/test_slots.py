"""Which trainers a hub keeps at work: over rounds, with and without room, on a clock of the test's own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest

from orchestrator.cluster.hub import slots as module
from orchestrator.cluster.hub.assignments import End
from orchestrator.cluster.hub.breaker import closed_by_breaker
from orchestrator.cluster.hub.room import FIRST_WORD, NEXT_WORD, RoomRequest
from orchestrator.cluster.hub.slots import ASKING, IDLE_SECONDS, YIELD_SECONDS
from tests.orchestrator.cluster.hub.test_hub import Stage, names

SECOND = 0.01  # of a test: what the hub does in a second of its clock


class Rooms(Stage):
    """A hub whose cluster has room for some trainers at a time, and a clock that stands until the test moves it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        super().__init__([], lambda pack, rank: None)
        self.free, self.asking, self.now, self.lock = room, set[str](), 0.0, threading.Lock()
        self.most_asking = 0
        self.fit = self.when_there_is_room
        monkeypatch.setattr(module, "now", lambda: self.now)
        monkeypatch.setattr(module, "LOOK_SECONDS", SECOND / 2)

    def when_there_is_room(self, name: str, request: RoomRequest) -> End:
        self.asking.add(name)
        self.most_asking = max(self.most_asking, len(self.asking))
        while True:
            with self.lock:
                if self.free > 0 and request.wanted:
                    self.free -= 1
                    break
            if not request.wanted:
                self.asking.discard(name)
                return End(sort="unplaced")
            threading.Event().wait(SECOND / 10)
        self.asking.discard(name)
        try:
            return self.train_all(name, request)
        finally:
            with self.lock:
                self.free += 1

    def act(self, play: Callable[[], Awaitable[Any]], slots: int | Literal["auto"] = "auto", **values: Any) -> Any:
        async def main() -> Any:
            self.begin(slots, **values)
            result = await play()
            await self.end()
            return result

        return asyncio.run(asyncio.wait_for(main(), 30))

    async def pass_(self, seconds: float) -> None:
        """Let the clock go on, second by second."""
        for _ in range(int(seconds)):
            self.now += 1
            await asyncio.sleep(SECOND)


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(SECOND / 10)


def test_a_trainer_stays_up_over_rounds_and_takes_the_packs_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Rooms(monkeypatch, 2)

    async def play() -> list[dict[str, str]]:
        return [await stage.round(names(3)), await stage.round(["next"]), await stage.round(["last"])]

    first, *later = stage.act(play, 2)
    assert set(first.values()) == {""}
    assert later == [{"next": ""}, {"last": ""}]
    assert set(stage.started) <= {"slot0-0", "slot1-0"}
    assert stage.done["last"][0][0] in stage.started


def test_a_trainer_without_packs_leaves_after_a_minute_and_a_later_round_starts_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Rooms(monkeypatch, 1)

    async def play() -> None:
        await stage.round(["a"])
        await stage.pass_(IDLE_SECONDS - 5)
        assert stage.free == 0
        await stage.pass_(10)
        await until(lambda: stage.free == 1)
        await stage.round(["b"])

    stage.act(play, 1)
    assert stage.started == ["slot0-0", "slot0-1"]


def test_released_trainers_free_their_room_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Rooms(monkeypatch, 2)

    async def play() -> None:
        await stage.round(names(4))
        assert await stage.hub.release(5)
        assert stage.free == 2
        assert await stage.round(["next"]) == {"next": ""}

    stage.act(play, 2)
    assert stage.started[-1] in ("slot0-1", "slot1-1")


def test_packs_that_failed_for_want_of_a_trainer_do_not_fail_the_next_round(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Rooms(monkeypatch, 1)
    broken, whole = True, stage.fit
    stage.fit = lambda name, request: End("CUDA is gone") if broken else whole(name, request)

    async def play() -> list[dict[str, str]]:
        nonlocal broken
        first = await stage.round(names(2))
        broken = False
        return [first, await stage.round(["next"])]

    first, second = stage.act(play, 1)
    assert {error.partition(",")[0] for error in first.values()} == {"No trainer could be started"}
    assert second == {"next": ""}


def test_an_error_of_the_hub_itself_fails_the_packs_of_its_round_and_a_later_round_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, broken = Rooms(monkeypatch, 1), True

    async def play() -> list[dict[str, str]]:
        nonlocal broken
        look = stage.hub.slots._let_idle_leave

        def breaks() -> None:
            if broken:
                raise RuntimeError("can't start new thread")
            look()

        stage.hub.slots._let_idle_leave = breaks  # type: ignore[method-assign]
        stage.free = 0
        first = await stage.round(names(2))
        broken, stage.free = False, 1
        return [first, await stage.round(["next"])]

    first, second = stage.act(play, 1)
    assert set(first.values()) == {'The hub met an error: RuntimeError("can\'t start new thread")'}
    assert second == {"next": ""}


@pytest.mark.parametrize("slots", ["auto", 3])
def test_requests_for_room_wait_as_long_as_packs_are_left_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, slots: int | Literal["auto"]
) -> None:
    over = threading.Event()
    stage = Rooms(monkeypatch, 1)
    stage.train = lambda pack, rank: None if pack != "p29" else over.wait(20) and None

    async def play() -> None:
        training = asyncio.create_task(stage.round(names(30)))
        await until(lambda: "p29" in stage.done)
        await until(lambda: not stage.asking)  # nothing is asked of an autoscaler for packs that are taken
        over.set()
        assert set((await training).values()) == {""}

    stage.act(play, slots)
    assert stage.started == ["slot0-0"]
    assert stage.most_asking <= (ASKING + 1 if slots == "auto" else 3)


def test_a_node_that_comes_in_the_middle_is_used_and_more_than_eight_trainers_may_be_at_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = threading.Event()
    stage = Rooms(monkeypatch, 1)
    stage.train = lambda pack, rank: over.wait(20) and None

    async def play() -> None:
        training = asyncio.create_task(stage.round(names(40)))
        await until(lambda: len(stage.done) == 1)
        assert len(stage.asking) == ASKING
        stage.free += 11
        await until(lambda: len(stage.done) == 12)
        over.set()
        await training

    stage.act(play)
    assert len(stage.started) == 12


def test_while_no_trainer_has_room_the_user_is_told_and_then_the_wait_ends_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Rooms(monkeypatch, 0)

    async def play() -> dict[str, str]:
        training = asyncio.create_task(stage.round(names(3)))
        await until(lambda: bool(stage.asking))
        await stage.pass_(FIRST_WORD - 2)
        assert stage.lines() == []
        await stage.pass_(NEXT_WORD + 5)
        assert len(stage.lines()) == 2
        await stage.pass_(60)
        return await training

    errors = stage.act(play, 2, wait_seconds=120, gpus_per_worker=1)
    assert stage.lines()[0] == (
        "waiting for room for a trainer (1 workers of 1 CPUs and 1 GPUs); the cluster has now: little; it is waited "
        "for up to 2 min"
    )
    (reason,) = set(errors.values())
    assert closed_by_breaker([reason])  # so the driver makes no second attempt, which would wait as long
    assert stage.hub.no_room.startswith("no trainer (1 workers of 1 CPUs and 1 GPUs) had room within 2 min")
    assert "cluster.wait_seconds" in stage.hub.no_room
    assert reason.endswith(stage.hub.no_room)
    assert stage.asking == set()


def test_a_hub_with_one_trainer_at_work_waits_for_more_room_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    stage = Rooms(monkeypatch, 1)
    stage.train = lambda pack, rank: over.wait(20) and None

    async def play() -> dict[str, str]:
        training = asyncio.create_task(stage.round(names(3)))
        await until(lambda: len(stage.done) == 1)
        await stage.pass_(150)
        over.set()
        return await training

    assert set(stage.act(play, 2, wait_seconds=120).values()) == {""}
    assert stage.lines() == []


def test_requests_that_wait_and_those_that_come_know_the_nodes_that_are_not_to_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Rooms(monkeypatch, 0)

    async def play() -> None:
        training = asyncio.create_task(stage.round(["a"]))
        await until(lambda: bool(stage.asking))
        slots, bad = stage.hub.slots, frozenset({"node"})
        slots.avoid(bad)
        assert [request.avoid for request in slots.requests.values()] == [bad]
        assert slots.requests[slots._request(7)].avoid == bad
        del slots.requests["slot7-0"]
        stage.free = 1
        await training

    stage.act(play, 1)


def test_a_stop_ends_the_wait_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Rooms(monkeypatch, 0)

    async def play() -> dict[str, str]:
        training = asyncio.create_task(stage.round(names(3)))
        await until(lambda: bool(stage.asking))
        await stage.hub.stop()
        return await training

    assert all(error.startswith("stopped") for error in stage.act(play).values())
    assert stage.asking == set()


def test_two_sweeps_share_the_room_and_the_one_that_came_first_gives_half_of_it_up_at_the_end_of_packs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Rooms(monkeypatch, 4)
    begun: dict[str, threading.Event] = {pack: threading.Event() for pack in names(12)}
    stage.train = lambda pack, rank: begun[pack].wait(20) and None

    async def play() -> dict[str, str]:
        training = asyncio.create_task(stage.round(names(12)))
        await until(lambda: len(stage.done) == 4)
        stage.hub.slots.share(2)  # as the watch tells it
        await stage.pass_(3)
        assert len(stage.hub.slots.trainers) == 4  # nobody leaves in the middle of a pack
        assert stage.asking == set()  # and nobody asks for the room that others wait for
        for pack in names(8):
            begun[pack].set()
        await until(lambda: stage.free == 2)
        stage.free -= 2  # the other sweep takes it
        await stage.pass_(3)
        assert len(stage.hub.slots.trainers) == 2
        stage.hub.slots.share(None)
        stage.free += 2
        await until(lambda: len(stage.hub.slots.trainers) == 4)
        for pack in begun.values():
            pack.set()
        return await training

    assert set(stage.act(play, 4).values()) == {""}
    (line,) = stage.lines()
    assert line.endswith("this sweep goes on with 2 of its 4 trainers, as soon as packs end")
    assert len(stage.done) == 12
    assert all(len(who) == 1 for who in stage.done.values())


def test_a_sweep_that_gave_its_only_trainer_up_asks_again_a_little_later(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Rooms(monkeypatch, 1)
    over = threading.Event()
    stage.train = lambda pack, rank: over.wait(20) and None

    async def play() -> dict[str, str]:
        training = asyncio.create_task(stage.round(names(2)))
        await until(lambda: len(stage.done) == 1)
        stage.hub.slots.share(0)
        await stage.pass_(2)
        over.set()
        await until(lambda: stage.free == 1)
        stage.hub.slots.share(1)
        await stage.pass_(YIELD_SECONDS - 5)
        assert stage.asking == set()
        assert stage.free == 1
        await stage.pass_(10)
        return await training

    assert set(stage.act(play, 1).values()) == {""}
    assert stage.started == ["slot0-0", "slot0-1"]
