"""The watch of a hub: it ends trainers that hang, and stops trainers whose node is about to go."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from orchestrator.cluster.hub.hub import Hub
from orchestrator.cluster.hub.messages import Beat, Place
from orchestrator.cluster.hub.neighbours import look_around
from orchestrator.cluster.hub.nodes import draining_nodes, end_actors, end_process, room_now, stack_of
from orchestrator.cluster.hub.sharing import Sharing, Standing
from orchestrator.cluster.hub.slots import Fit, now
from orchestrator.cluster.hub.watchdog import Hang, Phase, Watchdog
from orchestrator.recipe.cluster_section import ClusterSpec

LOOK_SECONDS = 1.0
STACK_SECONDS = 5.0  # how long ranks have to send their stacks before their trainer is ended
KILL_SECONDS = 30.0  # after so long a trainer that was killed and has not left is killed again
DRAIN_SECONDS = 30.0  # how long Ray may take to say which nodes it is about to lose
NO_STACK = "not to be had: the process does not answer, and there is no py-spy that may read it"
SHARE_SECONDS = 5.0  # between two questions to the hubs of other sweeps
ANSWER_SECONDS = 60.0  # after so long without an answer this sweep shares with nobody
SLOW = 5.0  # a look that is so late shows that the hub itself was not running


class HubActor(Hub):
    """The hub as an actor, with its watch."""

    def __init__(self, spec: ClusterSpec, fit: Fit) -> None:
        super().__init__(spec, fit, room_now)
        self._watch = Watch(self, float(spec.hang_seconds))

    async def standing(self) -> Standing:
        """Return what this sweep holds of the cluster; hubs of other sweeps ask."""
        return self.own_standing()

    async def run(self) -> None:
        """As `Hub.run`, watched."""
        watching = asyncio.create_task(self._watch.look_on())
        try:
            await super().run()
        finally:
            watching.cancel()


@dataclass
class _Kill:
    """A trainer that was killed: when last, how often, and the call in a thread that kills it."""

    at: float
    times: int
    call: asyncio.Future[None]


class Watch:
    """Looks at the trainers of a hub every LOOK_SECONDS; ``floor`` is ``cluster.hang_seconds``."""

    def __init__(self, hub: Hub, floor: float) -> None:
        self.hub, self.dog = hub, Watchdog(floor)
        self._packs: dict[str, str | None] = {}
        self._stacks: dict[str, dict[int, str]] = {}
        self._kills: dict[str, _Kill] = {}
        self._told: set[str] = set()
        self._asker = ThreadPoolExecutor(1, "draining")  # of its own: a question that is never answered keeps it
        self._question: tuple[float, asyncio.Future[set[str]]] | None = None
        self._neighbours: asyncio.Future[tuple[list[Standing], dict[str, float]]] | None = None
        self._asked, self._sharing = -math.inf, Sharing(now())
        hub.on_beat, hub.on_leave = self._heard, self._gone

    async def look_on(self) -> None:
        """Look until the task is cancelled. An error of one look is said once, and the next look comes all the same."""
        last = now()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if (late := now() - last - LOOK_SECONDS) > SLOW:
                self.dog.forgive(late)
            last = now()
            for look in (self._look_for_hangs, self._look_for_draining, self._look_for_neighbours):
                try:
                    await look()
                except Exception as error:  # of any kind: a watch that ended would leave hung trainers for ever
                    self._say_once(f"the watch over trainers met an error and goes on: {error!r}")

    async def _look_for_hangs(self) -> None:
        for name in list(self.hub.places):
            pack = self.hub.assignments.held(name)
            if pack != self._packs.get(name):
                self._packs[name] = pack
                self.dog.took(name, now())
            if name in self._kills:
                self._kill_again(name)
            elif hang := self.dog.hang_of(name, now(), self._phase(name), self.hub.assignments.asking(name)):
                await self._end(name, hang)

    def _phase(self, name: str) -> Phase:
        if not (self.hub.assignments.started(name) or self.hub.assignments.idle(name)):
            return "starting"
        return "done" if self.hub.assignments.held(name) is None else "working"

    async def _look_for_draining(self) -> None:
        """Take the answer to the last question, and ask anew; never wait, because hangs are looked for meanwhile."""
        if self._question is None:
            self._question = now(), asyncio.get_running_loop().run_in_executor(self._asker, draining_nodes)
            return
        asked, answer = self._question
        if answer.done():
            self._question = None
            await self._leave_draining(answer.result())
        elif now() - asked > DRAIN_SECONDS:
            self._say_once(
                f"Ray has not said within {DRAIN_SECONDS:.0f} s which nodes it is about to take away; until it does, "
                "such a node is noticed when it is gone"
            )

    async def _look_for_neighbours(self) -> None:
        """Take in where other sweeps stand, and ask anew after SHARE_SECONDS.

        Without an answer nobody gets a share: a sweep with the share 0 would else train nothing, and say nothing.
        """
        if self._neighbours is None:
            if now() - self._asked >= SHARE_SECONDS:
                self._asked = now()
                self._neighbours = asyncio.get_running_loop().run_in_executor(None, look_around)
            return
        if not self._neighbours.done():
            if now() - self._asked > ANSWER_SECONDS:
                self.hub.slots.share(None)
            return
        answer, self._neighbours = self._neighbours, None
        if answer.exception():
            self.hub.slots.share(None)
        (others, free), own = answer.result(), self.hub.own_standing()
        self.hub.slots.share(self._sharing.share(own, others, free.get(own.kind, 0.0), now()))

    def _say_once(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self.hub.say(line)

    async def _leave_draining(self, nodes: set[str]) -> None:
        """Stop the trainers on these nodes, so that they save their runs; their packs are put back."""
        for name, ranks in self.hub.places.items():
            going = [rank for rank, place in ranks.items() if place.node in nodes]
            if going and not self.hub.assignments.stopping(name):
                self.hub.assignments.stop(name)
                self.hub.say(
                    f"Ray takes the node of {name} away ({self.hub.where(name, going[0])}): its runs are saved"
                )

    async def _end(self, name: str, hang: Hang) -> None:
        """Take the stacks of a trainer, end its processes, and leave the reason as the hub's verdict."""
        self._stacks[name] = {}
        self.hub.wanted_stacks.add(name)
        places = dict(self.hub.places[name])
        deadline = now() + STACK_SECONDS
        while now() < deadline and len(self._stacks[name]) < len(places):
            await asyncio.sleep(0.2)
        self.hub.wanted_stacks.discard(name)
        place, in_thread = places[hang.rank], asyncio.get_running_loop().run_in_executor
        stack = self._stacks.pop(name).get(hang.rank) or await in_thread(None, stack_of, place.node, place.pid)
        verdict = f"{name}, {self.hub.where(name, hang.rank)}, {hang.why}; the trainer was ended"
        self.hub.verdicts[name] = f"{stack or NO_STACK}\n{verdict}"
        self.hub.say(f"{verdict}. Its stack was:\n{stack or NO_STACK}", whole=True)
        self._kills[name] = _Kill(now(), 1, in_thread(None, _kill, places.values(), [] if hang.answers else [place]))

    def _kill_again(self, name: str) -> None:
        """Kill all processes of a trainer that was killed and has not left; the second time is said."""
        kill, places = self._kills[name], list(self.hub.places[name].values())
        if now() - kill.at < KILL_SECONDS or not kill.call.done():
            return
        kill.at, kill.times = now(), kill.times + 1
        if kill.times == 2:
            self.hub.say(
                f"{name} has not ended within {KILL_SECONDS:.0f} s of its kill; its processes are killed again, every "
                f"{KILL_SECONDS:.0f} s until it has ended ({self.hub.where(name, min(self.hub.places[name]))})"
            )
        kill.call = asyncio.get_running_loop().run_in_executor(None, _kill, places, places)

    def _heard(self, name: str, rank: int, beat: Beat) -> None:
        self.dog.heard(name, rank, now(), beat.still)
        if beat.steps:
            self.dog.stepped(name, beat.steps, now())
        if beat.stack and name in self._stacks:
            self._stacks[name][rank] = beat.stack

    def _gone(self, name: str) -> None:
        self.dog.gone(name)
        self._packs.pop(name, None)
        self._kills.pop(name, None)


def _kill(places: Iterable[Place], by_signal: Iterable[Place]) -> None:
    """End the processes of ranks: by Ray's own request, and those that do not answer it by SIGKILL too."""
    end_actors(place.actor for place in places)
    for place in by_signal:
        end_process(place.node, place.pid)
