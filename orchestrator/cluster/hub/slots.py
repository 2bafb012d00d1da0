"""Which trainers a hub keeps at work: they start while packs wait, wait for more packs for a while, and leave."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from typing import Protocol

from orchestrator.cluster.hub.assignments import Assignments, End, Left
from orchestrator.cluster.hub.breaker import NOT_TRIED
from orchestrator.cluster.hub.room import RoomRequest, RoomWait
from orchestrator.cluster.hub.sharing import PATIENT_SECONDS

STARTS = 3  # after so many trainers in a row that ended without taking a pack, a slot is given up
ASKING = 8  # so many trainers wait for room at a time, if the recipe gives no number of trainers
IDLE_SECONDS = 60.0  # so long a trainer without a pack waits for the packs of the next round
LOOK_SECONDS = 1.0
ANSWER_SECONDS = 30.0  # for Ray to say what the cluster has
YIELD_SECONDS = 15.0  # so long no trainer is asked for after one has left for another sweep, which takes its room
MOST_THREADS = 4096

Fit = Callable[[str, RoomRequest], End]
"""Runs one trainer to its end, in a thread: asks for room as long as the request is wanted, then starts the ranks."""

_log = logging.getLogger(__name__)


class Owner(Protocol):
    """The hub, as far as its slots know it. The lock of ``changed`` guards all of it."""

    assignments: Assignments
    changed: asyncio.Condition
    closing: bool
    no_room: str

    async def leave(self, name: str, end: End) -> Left:
        """Note that a trainer has ended."""

    def give_up(self, error: str) -> None:
        """Fail all packs that have not ended; the caller holds the lock."""

    def say(self, line: str, whole: bool = False) -> None:
        """Let the driver print a line."""


class Slots:
    """The slots of a hub. A slot is one trainer after another, until no pack waits.

    ``limit`` is how many slots there may be at a time; None: as many as packs wait. A request for room is a demand that
    an autoscaler sees, so a request that no pack needs any more is taken back.
    """

    def __init__(self, hub: Owner, fit: Fit, limit: int | None, wait: RoomWait, cluster: Callable[[], str]) -> None:
        """``cluster`` returns in words what the cluster has now; it may block."""
        self.requests: dict[str, RoomRequest] = {}
        self._hub, self.fit, self._limit, self._wait, self._cluster = hub, fit, limit, wait, cluster
        self._running: dict[int, asyncio.Task[None]] = {}
        self._starts: Counter[int] = Counter()
        self._given_up: dict[int, str] = {}
        self._idle: dict[str, float] = {}
        self._share: int | None = None
        self._avoid: frozenset[str] = frozenset()
        self._yielded, self._told = -math.inf, False
        self._telling: asyncio.Task[None] | None = None
        self._threads = ThreadPoolExecutor(MOST_THREADS, "trainer")

    async def keep(self) -> None:
        """Keep trainers at work until the hub is closing and the last one has left.

        An error of a look fails the packs of its round, which would else wait for ever; later rounds are tried anew.
        """
        try:
            while True:
                async with self._hub.changed:
                    try:
                        self._look()
                    except Exception as error:
                        _log.exception("a look at the slots has failed")
                        self._hub.give_up(f"The hub met an error: {error!r}")
                    if self._hub.closing and not self._running:
                        return
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._hub.changed.wait(), LOOK_SECONDS)
        finally:
            for request in self.requests.values():
                request.wanted = False
            self._threads.shutdown(wait=False)  # a wait here would keep the whole hub from answering

    def renew(self) -> None:
        """Try again the slots that were given up: there are new packs."""
        self._given_up.clear()

    def avoid(self, nodes: frozenset[str]) -> None:
        """Start no trainer on these nodes from now on."""
        self._avoid = nodes
        for request in self.requests.values():
            request.avoid = nodes

    @property
    def with_room(self) -> list[str]:
        """The trainers that hold room."""
        return [name for name, request in self.requests.items() if request.has_room]

    @property
    def trainers(self) -> list[str]:
        """The trainers that have room and stay."""
        return [name for name in self.with_room if not self._hub.assignments.leaving(name)]

    @property
    def patient(self) -> bool:
        """Whether a trainer has waited for room for some time."""
        waiting = [one for one in self.requests.values() if one.wanted and not one.has_room]
        return any(now() - one.since >= PATIENT_SECONDS for one in waiting)

    def share(self, trainers: int | None) -> None:
        """Keep so many trainers at most from the end of their packs on, for the sake of other sweeps; None: all."""
        if trainers is not None and trainers < len(self.trainers) and not self._told:
            self._told = True
            self._hub.say(
                f"another sweep waits for room on this cluster: this sweep goes on with {trainers} of its "
                f"{len(self.trainers)} trainers, as soon as packs end"
            )
        self._share = trainers

    def _look(self) -> None:
        for slot, task in list(self._running.items()):
            if task.done():
                del self._running[slot]
                if error := task.exception():
                    _log.error("slot %d has ended with an error", slot, exc_info=error)
                    self._given_up[slot] = f"The hub met an error: {error!r}"
        self._make_room_for_others()
        self._take_back_requests()
        self._open_slots()
        self._let_idle_leave()
        self._watch_room()
        if self._given_up and not self._running and not self._hub.assignments.all_ended:
            self._hub.give_up(next(iter(self._given_up.values())))

    async def _wake(self) -> None:
        async with self._hub.changed:
            self._hub.changed.notify_all()

    def _coming(self) -> list[str]:
        """Return the trainers that will take a pack: they wait for room, or start."""
        started = self._hub.assignments.started
        return [name for name, request in self.requests.items() if request.wanted and not started(name)]

    def _take_back_requests(self) -> None:
        coming = self._coming()
        surplus = len(coming) - self._hub.assignments.waiting
        if self._share is not None:
            surplus = max(surplus, len(self._running) - self._share)
        for name in reversed(coming):
            if surplus > 0 and not self.requests[name].has_room:
                self.requests[name].wanted = False
                surplus -= 1

    def _open_slots(self) -> None:
        while not self._given_up and len(self._coming()) < self._hub.assignments.waiting and self._may_ask():
            slot = next(number for number in count() if number not in self._running)
            task = asyncio.get_running_loop().create_task(self._keep(slot, self._request(slot)))
            task.add_done_callback(lambda _: asyncio.ensure_future(self._wake()))
            self._running[slot] = task

    def _make_room_for_others(self) -> None:
        self._hub.assignments.surplus = 0
        if self._share is not None and (surplus := len(self.trainers) - self._share) > 0:
            self._hub.assignments.surplus = surplus
            self._yielded = now()

    def _may_ask(self) -> bool:
        if self._share is not None and (len(self._running) >= self._share or now() - self._yielded < YIELD_SECONDS):
            return False
        if self._limit is not None:
            return len(self._running) < self._limit
        return sum(request.wanted and not request.has_room for request in self.requests.values()) < ASKING

    def _request(self, slot: int) -> str:
        """Return the name of a new trainer, and note that it asks for room."""
        name = f"slot{slot}-{self._starts[slot]}"
        self._starts[slot] += 1
        self.requests[name] = RoomRequest(since=now(), avoid=self._avoid)
        return name

    async def _keep(self, slot: int, name: str) -> None:
        """Run trainer after trainer in one slot while packs wait; note why the slot was given up, if it was."""
        vain = 0
        while True:
            end = await self._end_of(name)
            wanted = self.requests.pop(name).wanted
            left = await self._hub.leave(name, end)
            if not wanted or not self._hub.assignments.open or (left.worked and self._share is not None):
                return  # a new slot may begin (`_open_slots`)
            taken_away = end.node_gone or self._hub.assignments.stopping(
                name
            )  # a spot node goes while a trainer starts
            vain = 0 if left.worked else vain + (not taken_away)
            if vain == STARTS:
                self._given_up[slot] = f"No trainer could be started, {vain} times in a row: {end.error}"
                return
            name = self._request(slot)

    async def _end_of(self, name: str) -> End:
        """Run a trainer to its end. An error outside of its ranks, as of Ray at the start, makes it a lost trainer."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self.fit, name, self.requests[name])
        except Exception as error:  # of any kind: the other slots go on
            return End(f"the trainer could not be run: {type(error).__name__}: {error}", sort="lost")

    def _let_idle_leave(self) -> None:
        names = [name for name in self.requests if self._hub.assignments.idle(name)]
        self._idle = {name: self._idle.get(name, now()) for name in names}
        for name, since in self._idle.items():
            if now() - since >= IDLE_SECONDS:
                self._hub.assignments.stop(name)
                self._hub.changed.notify_all()

    def _watch_room(self) -> None:
        if self._telling is not None and not self._telling.done():
            return
        waits = self._hub.assignments.open and bool(self._running)
        told = self._wait.look(waits and not self._has_room(), now())
        if told:
            self._telling = asyncio.get_running_loop().create_task(self._tell(told == "give up"))

    def _has_room(self) -> bool:
        return any(request.has_room for request in self.requests.values())

    async def _tell(self, over: bool) -> None:
        """Say what is waited for, or give up; the question what the cluster has is asked in a thread."""
        question = asyncio.get_running_loop().run_in_executor(self._threads, self._cluster)
        try:
            cluster = await asyncio.wait_for(question, ANSWER_SECONDS)
        except Exception as error:  # of any kind: the wait goes on, or ends, all the same
            cluster = f"unknown ({error!r})"
        if not over:
            self._hub.say(self._wait.word(cluster), whole=True)
        elif not self._has_room():
            async with self._hub.changed:
                self._hub.no_room = self._wait.reason(cluster)
                self._hub.give_up(f"{NOT_TRIED} {self._hub.no_room}")


def now() -> float:
    """Return the clock of the slots, in seconds."""
    return time.monotonic()
