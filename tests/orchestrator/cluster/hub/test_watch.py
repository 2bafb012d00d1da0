"""The watch over a hub's trainers without Ray: on a clock of the test's own, with kills that only leave a trace."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.cluster.hub import watch as module
from orchestrator.cluster.hub.assignments import End
from orchestrator.cluster.hub.hub import Hub
from orchestrator.cluster.hub.messages import Beat, Line, Place
from orchestrator.cluster.hub.watch import ANSWER_SECONDS, DRAIN_SECONDS, KILL_SECONDS, Watch
from orchestrator.cluster.hub.watchdog import STARTING
from orchestrator.recipe.cluster_section import ClusterSpec

FLOOR = 10.0


class Stage:
    """A hub with one trainer of two ranks, whose watch looks once per second of the clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.killed, self.signalled = 0.0, list[list[int]](), list[int]()
        monkeypatch.setattr(module, "now", lambda: self.now)
        monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
        monkeypatch.setattr(module, "STACK_SECONDS", 0.0)
        monkeypatch.setattr(module, "stack_of", lambda node, pid: "a stack")
        monkeypatch.setattr(module, "draining_nodes", set)
        monkeypatch.setattr(module, "look_around", lambda: ([], {}))
        monkeypatch.setattr(module, "end_actors", lambda actors: self.killed.append(list(actors)))
        monkeypatch.setattr(module, "end_process", lambda node, pid: self.signalled.append(pid))

    def run(self, seconds: int, meanwhile: Callable[[Hub], Any] = lambda hub: None, begin: Any = None) -> list[str]:
        """Watch for so many seconds, in which both ranks beat; return the lines that were said."""

        async def main() -> list[str]:
            hub = Hub(ClusterSpec(workers=2), lambda name, request: End())
            await hub.add({"p": b""}, {})
            looking = asyncio.create_task(Watch(hub, FLOOR).look_on())
            for rank in range(2):
                await hub.hello("t", rank, Place("node", "host", 70 + rank, rank))
            if begin is not None:
                begin(hub)
            for _ in range(seconds):
                self.now += 1
                for rank in range(2):
                    await hub.beat("t", rank, Beat())
                meanwhile(hub)
                for _ in range(3):
                    await asyncio.sleep(0.001)
            looking.cancel()
            return [event.text for event in hub.events if isinstance(event, Line)]

        return asyncio.run(asyncio.wait_for(main(), 30))


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def one_asks(hub: Hub) -> None:
    hub.assignments.ask("t", 0)


def test_a_hang_before_the_first_take_is_found_although_hearts_beat(stage: Stage) -> None:
    said = stage.run(int(STARTING * FLOOR) + 10, begin=one_asks)
    assert said[0].startswith("t, rank 1 on host, process 71, has taken no pack for 1")
    assert said[0].endswith("a stack")
    assert stage.killed == [[0, 1]]


def test_a_kill_that_ends_nothing_is_repeated_until_the_trainer_has_left_and_said_once(stage: Stage) -> None:
    start = STARTING * FLOOR

    def leaves(hub: Hub) -> None:
        if stage.now == start + 3.5 * KILL_SECONDS // 1 and "t" in hub.places:
            hub.places.pop("t")
            hub.on_leave("t")

    said = stage.run(int(start + 6 * KILL_SECONDS), leaves, one_asks)
    assert stage.killed == [[0, 1]] * 4
    assert stage.signalled == [70, 71] * 3  # the repetitions also send SIGKILL
    assert ["killed again" in line for line in said] == [False, True]


def test_a_ray_that_cannot_say_which_nodes_go_does_not_switch_the_watch_off(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> set[str]:
        raise TypeError("a later Ray has other words")

    monkeypatch.setattr(module, "draining_nodes", broken)
    said = stage.run(int(STARTING * FLOOR) + 10, begin=one_asks)
    assert [line for line in said if "TypeError" in line] == [
        "the watch over trainers met an error and goes on: TypeError('a later Ray has other words')"
    ]
    assert stage.killed == [[0, 1]]


def test_a_ray_that_never_says_which_nodes_go_keeps_the_watch_from_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr(module, "draining_nodes", lambda: over.wait(20) and set())
    said = stage.run(int(STARTING * FLOOR) + 10, begin=one_asks)
    over.set()
    assert len([line for line in said if f"has not said within {DRAIN_SECONDS:.0f} s" in line]) == 1
    assert stage.killed == [[0, 1]]


@pytest.mark.parametrize("silent", [True, False])
def test_a_ray_that_does_not_say_what_other_sweeps_hold_takes_no_trainer_from_this_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    """A sweep whose share was 0 when Ray fell silent would wait for ever."""
    over, shares, early, late = threading.Event(), list[int | None](), list[int | None](), list[int | None]()

    def ask() -> Any:
        if silent:
            over.wait(20)
        raise ConnectionError("the head does not answer")

    def begin(hub: Hub) -> None:
        hub.slots.share(0)
        monkeypatch.setattr(hub.slots, "share", shares.append)

    def meanwhile(_: Hub) -> None:
        if stage.now == ANSWER_SECONDS - 5:
            early.extend(shares)
        if stage.now == ANSWER_SECONDS + 10:
            late.extend(shares)
            over.set()

    monkeypatch.setattr(module, "look_around", ask)
    stage.run(int(ANSWER_SECONDS) + 12, meanwhile, begin)
    assert (early == []) == silent
    assert set(late) == {None}


def test_trainers_on_a_node_that_goes_are_stopped(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "draining_nodes", lambda: {"node"})
    said = stage.run(10)
    assert said == ["Ray takes the node of t away (rank 0 on host, process 70): its runs are saved"]
