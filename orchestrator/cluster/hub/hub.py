"""The hub, a Ray actor: it has all packs, starts trainers, gives them packs, and knows how far every trainer is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from textwrap import shorten

from orchestrator.cluster.hub.assignments import Assignments, End, Left, Sort
from orchestrator.cluster.hub.bad_nodes import BadNodes
from orchestrator.cluster.hub.breaker import Breaker, last_line
from orchestrator.cluster.hub.messages import Beat, Chunk, Event, Line, PackEnd, Place, Reply
from orchestrator.cluster.hub.room import RoomWait
from orchestrator.cluster.hub.sharing import Standing, standing_of
from orchestrator.cluster.hub.slots import Fit, Slots
from orchestrator.control import RunEnd
from orchestrator.machine.full_memory import is_about_memory
from orchestrator.recipe.cluster_section import ClusterSpec

# The hub and Tune's trials only wait. They reserve no CPU, because even 0.01 CPU would leave no room for the last
# worker of a full machine. They reserve a small part of the head node instead, which is never preemptible.
HEAD = {"node:__internal_head__": 0.0001}
LONGEST = 300  # characters of a line for the user; the row of a failed run has the whole text
STOPPED = "stopped: the same command goes on from the newest checkpoints"


@dataclass
class Hub:
    """The packs of a sweep, round after round, and the trainers that are at work or wait for the next round.

    Packs stay pickled here, because only trainers import the modules that a pack needs. ``fit(name, request)`` runs one
    trainer to its end. The call blocks, so `Slots` calls ``fit`` in threads. ``look_at_cluster`` returns in words what
    the cluster has now. ``on_beat`` hears every beat, and ``on_leave`` every trainer that has ended: the watch
    (`hub.watch`) sets both.
    """

    spec: ClusterSpec
    fit: Fit
    look_at_cluster: Callable[[], str] = lambda: "nothing"
    on_beat: Callable[[str, int, Beat], None] = lambda *_: None
    on_leave: Callable[[str], None] = lambda _: None
    packs: dict[str, bytes] = field(default_factory=dict)
    keys: dict[str, Sequence[str]] = field(default_factory=dict)
    assignments: Assignments = field(init=False)
    changed: asyncio.Condition = field(init=False)
    slots: Slots = field(init=False)
    places: dict[str, dict[int, Place]] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)
    wanted_stacks: set[str] = field(default_factory=set)
    breaker: Breaker = field(default_factory=Breaker)
    bad_nodes: BadNodes = field(default_factory=BadNodes)
    events: list[Event] = field(default_factory=list)
    no_room: str = ""
    closing: bool = False

    def __post_init__(self) -> None:
        self.assignments = Assignments([], self.spec.workers, more_to_come=True)
        self.changed = asyncio.Condition()
        limit = None if self.spec.max_concurrent == "auto" else self.spec.max_concurrent
        self.slots = Slots(self, self.fit, limit, RoomWait(self.spec), self._cluster_now)
        self._steps: dict[str, int] = {}
        self._fresh: dict[str, int] = {}
        self._begun, self._told = False, set[str]()
        self._forgotten = 0  # events that the driver has
        self._advanced: dict[str, str] = {}  # by trainer, the last pack of which it has made a new step

    def _cluster_now(self) -> str:
        return self.look_at_cluster() + self.bad_nodes.words

    async def run(self) -> None:
        """Keep trainers at work until `close`; then packs that have not ended fail."""
        try:
            await self.slots.keep()
        finally:
            async with self.changed:
                self.give_up("The hub has ended.")

    async def add(self, packs: Mapping[str, bytes], keys: Mapping[str, Sequence[str]]) -> None:
        """Take the packs of a round, in the order in which trainers take them; no pack of an earlier round is left.

        ``packs`` are pickled jobs by the pack's name, which is new; ``keys`` the run keys of each pack. Whatever has
        failed in an earlier round is tried anew.
        """
        async with self.changed:
            self.packs |= packs
            self.keys |= keys
            for key in (key for own in keys.values() for key in own):
                self._steps.pop(key, None)
            self.breaker, self._begun, self._told, self.no_room = Breaker(), False, set(), ""
            self.slots.renew()
            self.assignments.add(list(packs))
            self.changed.notify_all()

    async def close(self) -> None:
        """Let trainers that find no pack end, and then the hub."""
        async with self.changed:
            self.closing = True
            self.assignments.expect_no_more()
            self.changed.notify_all()

    async def release(self, seconds: float) -> bool:
        """Let all trainers without a pack end, so that their room is free; return whether none is left."""
        async with self.changed:
            for trainer in list(self.slots.requests):
                if self.assignments.held(trainer) is None:
                    self.assignments.stop(trainer)
            self.changed.notify_all()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait_for(lambda: not self.slots.requests), seconds)
        return not self.slots.requests

    def own_standing(self) -> Standing:
        """Return what this sweep holds of the cluster, and whether it waits for more."""
        return standing_of(self.spec, len(self.slots.trainers), self.slots.patient)

    def give_up(self, error: str) -> None:
        """Fail all packs that have not ended; the caller holds the lock of ``changed``."""
        self.assignments.give_up(error)
        self._note_ended_packs()
        self.changed.notify_all()

    @property
    def finished(self) -> bool:
        """Whether every pack has ended."""
        return self.assignments.all_ended

    async def wait(self, pack: str) -> str:
        """Wait for the end of a pack and return its error; empty if it ended well. Tune's trials call it."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.assignments.ended(pack))
            return self.assignments.error(pack)

    async def take(self, trainer: str, rank: int) -> bytes | None:
        """Return the next pack of a trainer, the same on all of its ranks; None if no pack is left."""
        async with self.changed:
            turn = self.assignments.ask(trainer, rank)
            self._note_ended_packs()
            self.changed.notify_all()
            await self.changed.wait_for(lambda: self.assignments.decided(trainer, turn))
            pack = self.assignments.pack_of_turn(trainer, turn)
            self._begun = self._begun or pack is not None
            return None if pack is None else self.packs[pack]

    async def hello(self, trainer: str, rank: int, place: Place) -> None:
        """Note where a rank works; its beats begin now. A rank whose trainer has left is not listened to any more."""
        if self.assignments.gone(trainer):
            return
        self.places.setdefault(trainer, {})[rank] = place
        self.on_beat(trainer, rank, Beat())

    async def beat(self, trainer: str, rank: int, beat: Beat) -> Reply:
        """Note how far a rank is; tell it whether to stop.

        A rank that beats although its trainer has left is cut off from Ray: its pack is in other hands.
        """
        if trainer not in self.places:
            return Reply(stop=True)
        self._steps |= beat.steps
        self._fresh |= beat.steps
        pack = self.assignments.held(trainer)
        if pack is not None and beat.steps:
            before = self.assignments.steps(pack)
            self.assignments.progress(pack, sum(self._steps.get(key, 0) for key in self.keys.get(pack) or beat.steps))
            if self.assignments.steps(pack) > before:
                self._advanced[trainer] = pack
                self.breaker.stepped(pack)
                self.bad_nodes.stepped(self.places[trainer].get(rank))
        self.on_beat(trainer, rank, beat)
        if beat.told and not self.assignments.stopping(trainer):
            self.say(f"{trainer} was told to end ({self.where(trainer, rank)}): its runs are saved")
            self.assignments.stop(trainer)
        return Reply(stop=self.assignments.stopping(trainer), stack=trainer in self.wanted_stacks)

    async def note_ends(self, ends: Sequence[RunEnd]) -> None:
        """Note ends of runs, which are durable already."""
        self.events.extend(ends)

    async def report(self, trainer: str, rank: int, error: str, sort: Sort = "raised") -> None:
        """Keep the error that a rank has raised."""
        self.assignments.report(trainer, rank, error, sort)

    async def stop(self) -> None:
        """Tell all trainers to save their runs and to end; no pack is given out any more."""
        async with self.changed:
            self.assignments.close(STOPPED)
            for trainer in self.places:
                self.assignments.stop(trainer)
            self._note_ended_packs()
            self.changed.notify_all()

    async def news(self, cursor: int, seconds: float) -> Chunk:
        """Return what has happened since event number ``cursor``; wait up to ``seconds`` for the end of all packs.

        The events before ``cursor`` have arrived, and are forgotten: a sweep may have 100,000 runs.
        """
        async with self.changed:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait_for(lambda: self.finished), seconds)
        fresh, self._fresh = self._fresh, {}
        del self.events[: max(0, cursor - self._forgotten)]
        self._forgotten = max(cursor, self._forgotten)
        trainers = len(self.slots.with_room)
        return Chunk(fresh, tuple(self.events), self._begun, self.finished, self.no_room, trainers)

    def say(self, line: str, whole: bool = False) -> None:
        """Let the driver print a line; texts of Ray may be long, so a line is shortened unless ``whole``."""
        self.events.append(Line(line if whole else shorten(line, LONGEST, placeholder=" ...")))

    def where(self, trainer: str, rank: int) -> str:
        """Return rank, host and process in words."""
        place = self.places.get(trainer, {}).get(rank)
        return f"rank {rank} on {place.host}, process {place.pid}" if place else f"rank {rank}"

    async def leave(self, name: str, end: End) -> Left:
        """Note that a trainer has ended: its pack fails or is put back."""
        async with self.changed:
            places = self.places.pop(name, {})
            left = self.assignments.leave(name, end, self.verdicts.pop(name, ""))
            self.on_leave(name)
            self._tell(left, end)
            advanced = left.pack is not None and self._advanced.pop(name, None) == left.pack
            if left.pack is not None and not self.assignments.closed:
                self._count(left, left.pack, places.get(next(iter(end.failures), 0)), advanced, end.node_gone)
            self._note_ended_packs()
            self.changed.notify_all()
        return left

    def _tell(self, left: Left, end: End) -> None:
        """Say what became of a trainer that did not end well."""
        line = last_line(left.reason)
        if left.pack is None:
            if end.error:
                self._tell_once(f"a trainer could not work ({left.sort}): {line}")
        elif left.put_back:
            self.say(f"{left.pack} is put back ({left.sort}): {line}")
        elif left.sort == "raised" and not self.assignments.closed:
            self._tell_once(f"{left.pack} failed: {line}", line)
        elif not self.assignments.closed:
            self.say(f"{left.pack} failed: {line}")

    def _count(self, left: Left, pack: str, place: Place | None, advanced: bool, node_gone: bool) -> None:
        """Count a pack that failed, or lost its trainer, at a place: towards a bad node, else towards the breaker.

        ``advanced`` is whether the trainer had made a new step of the pack.
        """
        own_error = left.sort == "raised" and not is_about_memory(left.reason)
        in_vain = not (advanced or node_gone) and (own_error or left.sort == "lost")
        if in_vain and place is not None and self._works_elsewhere(place):
            if line := self.bad_nodes.failed(place):
                self.say(line)
                self.slots.avoid(frozenset(self.bad_nodes.hosts))
            if self.bad_nodes.at_fault(place):
                return
        if left.sort == "raised":
            self._close(self.breaker.failed(left.reason, self.assignments.steps(pack)))
        elif in_vain and left.sort == "lost":
            self._close(self.breaker.lost(pack, left.reason))

    def _works_elsewhere(self, place: Place) -> bool:
        """Return whether a trainer that is not on this node has a pack."""
        return any(
            self.assignments.held(name) is not None and all(one.node != place.node for one in ranks.values())
            for name, ranks in self.places.items()
        )

    def _close(self, why: str | None) -> None:
        """Give out no more packs, if there is a reason, and say the reason."""
        if why is not None:
            self.assignments.close(why)
            self.say(f"the packs that are left are {why}")

    def _tell_once(self, text: str, line: str | None = None) -> None:
        """Say a failure the first time that it occurs."""
        if (line or text) not in self._told:
            self._told.add(line or text)
            self.say(text)

    def _note_ended_packs(self) -> None:
        for pack in self.assignments.newly_ended():
            self.packs[pack] = b""  # nobody asks for its content any more
            self.events.append(PackEnd(pack, self.assignments.error(pack)))
            if not self.assignments.error(pack):
                self.breaker.went_well()
