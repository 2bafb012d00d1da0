"""The hub, a Ray actor: it has all packs, starts trainers, gives them packs, and knows how far every trainer is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from textwrap import shorten

from orchestrator.cluster.hub.assignments import Assignments, End, Left, Sort
from orchestrator.cluster.hub.breaker import Breaker, last_line
from orchestrator.cluster.hub.messages import Beat, Chunk, Event, Line, PackEnd, Place, Reply
from orchestrator.cluster.hub.nodes import remove_groups
from orchestrator.control import RunEnd

# The hub and Tune's trials only wait. They reserve no CPU, because even 0.01 CPU would leave no room for the last
# worker of a full machine. They reserve a small part of the head node instead, which is never preemptible.
HEAD = {"node:__internal_head__": 0.0001}
STARTS = 3  # after so many trainers in a row that ended without taking a pack, a slot is given up
PLACEMENTS = 15  # as STARTS, for trainers that got no room on a node in time; more, because a lost node may come back
LONGEST = 300  # characters of a line for the user; the row of a failed run has the whole text
STOPPED = "stopped: the same command goes on from the newest checkpoints"


@dataclass
class Hub:
    """Packs by name, in the order in which trainers take them, and the trainers that are at work.

    Packs stay pickled here, because only trainers import the modules that a pack needs. ``fit(name)`` runs one trainer
    to its end. The call blocks, so the hub calls ``fit`` in one thread per slot; a slot is room for one trainer.
    ``on_beat`` hears every beat, and ``on_leave`` every trainer that has ended: the watch (`hub.watch`) sets both.
    """

    packs: Mapping[str, bytes]
    ranks: int
    fit: Callable[[str], End]
    keys: Mapping[str, Sequence[str]] = field(default_factory=dict)
    on_beat: Callable[[str, int, Beat], None] = lambda *_: None
    on_leave: Callable[[str], None] = lambda _: None
    assignments: Assignments = field(init=False)
    changed: asyncio.Condition = field(init=False)
    places: dict[str, dict[int, Place]] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)
    wanted_stacks: set[str] = field(default_factory=set)
    breaker: Breaker = field(default_factory=Breaker)
    events: list[Event] = field(default_factory=list)
    finished: bool = False

    def __post_init__(self) -> None:
        self.assignments, self.changed = Assignments(list(self.packs), self.ranks), asyncio.Condition()
        self._steps: dict[str, int] = {}
        self._fresh: dict[str, int] = {}
        self._begun, self._told = False, set[str]()
        self._reported: set[str] = set()
        self._advanced: dict[str, str] = {}  # by trainer, the last pack of which it has made a new step

    async def run(self, slots: int) -> None:
        """Keep ``slots`` trainers at work until no pack is left; remaining packs fail if no trainer can be started."""
        error, threads = "The hub has ended.", ThreadPoolExecutor(slots)
        try:
            errors = await asyncio.gather(*(self._keep(slot, threads) for slot in range(slots)))
            error = next(filter(None, errors), error)
        finally:
            threads.shutdown(wait=False)  # a wait here would keep the whole hub from answering
            async with self.changed:
                self.assignments.give_up(error)
                self._note_ended_packs()
                self.finished = True
                self.changed.notify_all()

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
        """Note where a rank works; its beats begin now."""
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
        """Return what has happened since event number ``cursor``; wait up to ``seconds`` for the end of all packs."""
        async with self.changed:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait_for(lambda: self.finished), seconds)
        fresh, self._fresh = self._fresh, {}
        groups = tuple(place.group for ranks in self.places.values() for place in ranks.values() if place.group)
        return Chunk(fresh, tuple(self.events[cursor:]), self._begun, self.finished, groups)

    def say(self, line: str, whole: bool = False) -> None:
        """Let the driver print a line; texts of Ray may be long, so a line is shortened unless ``whole``."""
        self.events.append(Line(line if whole else shorten(line, LONGEST, placeholder=" ...")))

    def where(self, trainer: str, rank: int) -> str:
        """Return rank, host and process in words."""
        place = self.places.get(trainer, {}).get(rank)
        return f"rank {rank} on {place.host}, process {place.pid}" if place else f"rank {rank}"

    async def _keep(self, slot: int, threads: ThreadPoolExecutor) -> str:
        """Start trainer after trainer in one slot while packs are left; return why the slot was given up, or ""."""
        vain = unplaced = 0
        for start in count():
            name = f"slot{slot}-{start}"  # a new name, because Train would resume a finished run
            end = await self._end_of(name, threads)
            left = await self._left(name, end, threads)
            if not self.assignments.open:
                break
            vain = 0 if left.worked else vain + (left.sort != "unplaced")
            unplaced = 0 if left.worked else unplaced + (left.sort == "unplaced")
            if vain == STARTS or unplaced == PLACEMENTS:
                return f"No trainer could be started, {vain + unplaced} times in a row: {end.error}"
        return ""

    async def _end_of(self, name: str, threads: ThreadPoolExecutor) -> End:
        """Run a trainer to its end. An error outside of its ranks, as of Ray at the start, makes it a lost trainer."""
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, self.fit, name)
        except Exception as error:  # of any kind: the other slots go on
            return End(f"the trainer could not be run: {type(error).__name__}: {error}", sort="lost")

    async def _left(self, name: str, end: End, threads: ThreadPoolExecutor) -> Left:
        """Note that a trainer has ended: its pack fails or is put back, and its room is free again."""
        groups = [place.group for place in self.places.pop(name, {}).values() if place.group]
        if groups:  # whatever Ray's own cleaner does
            await asyncio.get_running_loop().run_in_executor(threads, remove_groups, groups)
        async with self.changed:
            left = self.assignments.leave(name, end, self.verdicts.pop(name, ""))
            self.on_leave(name)
            self._tell(left, end)
            self._count_loss(left, end, self._advanced.pop(name, None))
            self._note_ended_packs()
            self.changed.notify_all()
        return left

    def _tell(self, left: Left, end: End) -> None:
        """Say what became of a trainer that did not end well, and count its pack's error towards the breaker."""
        line = last_line(left.reason)
        if left.pack is None:
            if end.error:
                self._tell_once(f"a trainer could not work ({left.sort}): {line}")
        elif left.put_back:
            self.say(f"{left.pack} is put back ({left.sort}): {line}")
        elif left.sort == "raised" and not self.assignments.closed:
            self._tell_once(f"{left.pack} failed: {line}", line)
            self._close(self.breaker.failed(left.reason, self.assignments.steps(left.pack)))
        elif not self.assignments.closed:
            self.say(f"{left.pack} failed: {line}")

    def _count_loss(self, left: Left, end: End, advanced: str | None) -> None:
        """Count a lost trainer towards the breaker, unless its pack has made a new step or a node is gone."""
        lost = left.pack is not None and left.sort == "lost" and not self.assignments.closed
        if lost and left.pack is not None and left.pack != advanced and not end.node_gone:
            self._close(self.breaker.lost(left.pack, left.reason))

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
        for pack in self.packs:
            if pack not in self._reported and self.assignments.ended(pack):
                self._reported.add(pack)
                self.events.append(PackEnd(pack, self.assignments.error(pack)))
                if not self.assignments.error(pack):
                    self.breaker.went_well()


def now() -> float:
    """Return the hub's clock, in seconds."""
    return time.monotonic()
